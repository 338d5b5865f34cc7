//! Words that are secrets by their looks, or by what stands before them.

use super::REMOVED;
use super::names::{SCHEMES, is_boundary, is_secret};

/// Text without them.
pub(super) fn without_secrets(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut after_scheme = false;
    for piece in text.split_inclusive(is_boundary) {
        let word = piece.trim_end_matches(is_boundary);
        let tail = &piece[word.len()..];
        match shown(word) {
            _ if after_scheme && word.len() >= SHORTEST_BEARER => kept.push_str(REMOVED),
            whole if whole == word.len() => kept.push_str(word),
            part => {
                kept.push_str(&word[..part]);
                kept.push_str(REMOVED);
            }
        }
        if !word.is_empty() {
            after_scheme = SCHEMES.iter().any(|it| word.eq_ignore_ascii_case(it));
        }
        kept.push_str(tail);
    }
    kept
}

// How much of a word may be shown: all of it, or what stands before a secret.
fn shown(word: &str) -> usize {
    let mut begun = 0;
    for (at, _) in word.match_indices('=') {
        let rest = &word[at + 1..];
        // A backslash alone belongs to a quote that follows.
        let is_value = !rest.trim_matches('\\').is_empty();
        if is_value && is_secret(&word[begun..at]) {
            return at + 1;
        }
        begun = at + 1;
    }
    let mut starts = word.char_indices().map(|(at, _)| at).filter(|at| {
        let before = word[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_ascii_alphanumeric())
    });
    starts
        .find(|at| is_token(&word[*at..]))
        .unwrap_or(word.len())
}

// JSON web tokens, keys in base64, key ids of AWS, and the tokens of GitHub and the like by their published beginnings.
fn is_token(text: &str) -> bool {
    let begins = |(start, least): &(&str, usize)| text.starts_with(start) && text.len() >= *least;
    BEGINNINGS.iter().any(begins) || is_key_id(text)
}

fn is_key_id(text: &str) -> bool {
    let is_of_it = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    let end = text.find(|c| !is_of_it(c)).unwrap_or(text.len());
    let ends = text[end..]
        .chars()
        .next()
        .is_none_or(|c| !c.is_ascii_alphanumeric());
    end == KEY_ID && ends && ["AKIA", "ASIA"].iter().any(|start| text.starts_with(start))
}

// Each with the least length of a whole one.
const BEGINNINGS: [(&str, usize); 13] = [
    ("eyJ", 31),
    // `-----BEGIN` in base64.
    ("LS0tLS1CRUdJTi", 20),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("hvs.", 20),
    // A signed request to STS, which is what a cluster of EKS takes as a token.
    ("k8s-aws-v1.", 20),
];

const KEY_ID: usize = 20;

const SHORTEST_BEARER: usize = 8;
