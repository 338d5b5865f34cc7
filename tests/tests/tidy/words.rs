//! Words that have no place in the repository: paths and hosts of one machine, tools that are nobody's business, and names
//! that nobody in the field would look for.

use crate::nothing_in;
use crate::tree::{rust, texts};

#[test]
fn no_file_speaks_of_one_machine_or_its_tools() {
    let mut breaches = Vec::new();
    for file in texts() {
        for (line, text) in file.lines() {
            let lower = text.to_lowercase();
            for word in ANYWHERE.iter().filter(|word| lower.contains(**word)) {
                breaches.push(format!("{}:{line}: `{word}`; leave it out", file.path));
            }
            for path in PATHS.iter().filter(|path| starts_a_path(&lower, path)) {
                breaches.push(format!(
                    "{}:{line}: `{path}`; use a relative path",
                    file.path
                ));
            }
        }
    }
    nothing_in(&breaches);
}

#[test]
fn names_are_those_of_the_field() {
    let mut breaches = Vec::new();
    for file in rust() {
        for (line, text) in file.lines() {
            // A column keeps the name that landed tables have.
            let words = words(&text.replace(COLUMN, ""));
            for (name, instead) in QUAINT {
                if words.iter().any(|word| word == name) {
                    breaches.push(format!("{}:{line}: `{name}`; say {instead}", file.path));
                }
            }
        }
    }
    nothing_in(&breaches);
}

#[test]
fn a_word_is_found_in_every_way_of_writing_a_name() {
    for text in [
        "let limiter = 1;",
        "struct LimiterCount;",
        "fn no_limiter_here()",
        "// a limiter",
        "LIMITER",
    ] {
        assert!(words(text).iter().any(|word| word == "limiter"), "{text}");
    }
    assert!(!words("limiters").iter().any(|word| word == "limiter"));
}

/// The words of a line in small letters; names are taken apart at `_` and at capitals.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for char in text.chars() {
        let begins = char.is_uppercase() && before.is_lowercase();
        if begins || !char.is_alphanumeric() {
            words.push(String::new());
        }
        if char.is_alphanumeric() {
            let word = words.last_mut();
            word.into_iter()
                .for_each(|word| word.extend(char.to_lowercase()));
        }
        before = char;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether `path` stands at the start of a path: `agent/src/work/file.rs` is no absolute path.
fn starts_a_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|char| char.is_whitespace() || "\"'`(=:<[,".contains(char))
    })
}

// In two halves, or this file would be the first breach.
const ANYWHERE: &[&str] = &[
    concat!("index.cra", "tes.io"),
    concat!("static.cra", "tes.io"),
    concat!("proxy.gol", "ang.org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("deb.deb", "ian.org"),
    concat!("cla", "ude"),
    concat!("anthr", "opic"),
    concat!("open", "ai"),
    concat!("chat", "gpt"),
    concat!("github cop", "ilot"),
];

/// Of the table `doubts`.
const COLUMN: &str = concat!("strang", "er_at");

const PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/ba", "sh_jobs"),
];

/// Names that were used once, and what they are called. Each in two halves, or this file would be the first breach.
const QUAINT: &[(&str, &str)] = &[
    (concat!("feu", "d"), "`conflict`"),
    (concat!("feu", "ds"), "`conflicts`"),
    (concat!("fare", "well"), "`removal notice`, or `cleanup`"),
    (concat!("scr", "ibe"), "`recorder`"),
    (
        concat!("lea", "sh"),
        "`limiter`, or `stop guard` for processes",
    ),
    (concat!("cho", "ke"), "`throttle`"),
    (concat!("esta", "te"), "`testbed`"),
    (concat!("door", "bell"), "`notifier` or `listener`"),
    (concat!("meddl", "ing"), "`manual change`"),
    (concat!("rog", "ue"), "`misbehaving agent`"),
    (concat!("fat", "e"), "`outcome`"),
    (concat!("sig", "ht"), "`observation`"),
    (concat!("puls", "e"), "`heartbeat`"),
    (
        concat!("kee", "per"),
        "what it keeps: `LeaseRenewer`, `…Maintainer`, `…Controller`",
    ),
    (concat!("stran", "gers"), "`foreign`"),
    (concat!("stran", "ger"), "`foreign`, or `unknown`"),
    (concat!("ow", "ed"), "`pending`"),
    (concat!("ow", "es"), "what it does for its callers"),
];
