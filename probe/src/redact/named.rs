//! Values that stand at the name of a secret: `name: value`, `name=value`, `"name":"value"`, and the same inside of a text of
//! JSON, where quotes have backslashes before them.

use super::REMOVED;
use super::names::{SCHEMES, is_boundary, is_secret};

/// Text without them.
pub(super) fn without(text: &str) -> String {
    let mut left = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(at) = left.find([':', '=']) {
        let (before, after) = left.split_at(at);
        let is_assigned = after.starts_with('=');
        // What follows another one at once is the second half of `service:action`.
        let is_first = kept.is_empty();
        kept.push_str(before);
        kept.push_str(&after[..1]);
        left = &after[1..];
        let Some(name) = name(before, is_first || is_assigned) else {
            continue;
        };
        if !is_secret(name.text) {
            continue;
        }
        let value = left.trim_start_matches([' ', '\t']);
        let space = &left[..left.len() - value.len()];
        let quote = Quote::of(value);
        // `service:action` and addresses are no entries.
        let is_bare = space.is_empty() && quote.is_none();
        if is_bare && !is_assigned && !name.is_quoted {
            continue;
        }
        let inside = &value[quote.as_ref().map_or(0, |it| it.0.len())..];
        let end = match &quote {
            Some(quote) => quote.end(inside),
            None => end_of_bare(inside, name.text),
        };
        if end == 0 {
            continue;
        }
        kept.push_str(space);
        kept.push_str(quote.map_or("", |quote| quote.0));
        kept.push_str(REMOVED);
        left = &inside[end..];
    }
    kept.push_str(left);
    kept
}

struct Name<'t> {
    text: &'t str,
    is_quoted: bool,
}

// The name at the end of a text, if it is a whole word.
fn name(before: &str, may_be_all: bool) -> Option<Name<'_>> {
    let spaced = before.trim_end_matches([' ', '\t']);
    let bare = spaced.trim_end_matches(['"', '\'', '\\']);
    let start = bare
        .char_indices()
        .rev()
        .find(|(_, c)| is_boundary(*c))
        .map(|(at, c)| at + c.len_utf8());
    let text = match start {
        Some(start) => &bare[start..],
        None if may_be_all => bare,
        None => return None,
    };
    // Not a longer one, such as a path or an option.
    let is_whole = !text.is_empty() && !text.starts_with('-') && text.chars().all(is_of_name);
    is_whole.then_some(Name {
        text,
        is_quoted: bare.len() < spaced.len(),
    })
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

// A quote with the backslashes before it.
struct Quote<'t>(&'t str);

// === impl Quote ===

impl<'t> Quote<'t> {
    fn of(value: &'t str) -> Option<Self> {
        let bare = value.trim_start_matches('\\');
        let depth = value.len() - bare.len();
        let is_quote = bare.starts_with(['"', '\'', '`']);
        is_quote.then(|| Self(&value[..=depth]))
    }

    // The end of what stands in it: the same quote with as many backslashes and no more. What does not end goes on to the end.
    fn end(&self, inside: &str) -> usize {
        let depth = self.0.len() - 1;
        let mut backslashes = 0;
        for (at, c) in inside.char_indices() {
            if c == '\\' {
                backslashes += 1;
                continue;
            }
            // Outside of JSON in JSON two backslashes are one, and what follows them is not escaped.
            let ends = match depth {
                0 => backslashes % 2 == 0,
                depth => backslashes == depth,
            };
            if self.0.ends_with(c) && ends {
                return at - depth.min(backslashes);
            }
            backslashes = 0;
        }
        inside.len()
    }
}

// The end of a word; a scheme that is known stays, of others what follows goes too.
fn end_of_bare(value: &str, name: &str) -> usize {
    let word = |text: &str| text.find(is_boundary).unwrap_or(text.len());
    let end = word(value);
    let scheme = &value[..end];
    if SCHEMES.iter().any(|it| scheme.eq_ignore_ascii_case(it)) {
        return 0;
    }
    let is_header = name.to_ascii_lowercase().ends_with("authorization");
    match value[end..].strip_prefix(' ') {
        Some(rest) if is_header => end + 1 + word(rest),
        _ => end,
    }
}
