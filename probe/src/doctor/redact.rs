//! Takes secrets out of text, by what they look like and by the key that they stand at.
//!
//! What goes into findings and archives is chosen so that it holds none; this is the second look. Configuration files are
//! taken by an allow-list: a value stays only at a key that is known to hold no secret, and only in the shape that the key
//! asks for (`misplaced`).

mod misplaced;

pub(super) use self::misplaced::Misplaced;

/// Text without what looks like a secret: private keys in PEM, users and passwords of URLs, tokens.
pub(super) fn text(text: &str) -> String {
    let text = without_private_keys(text);
    let text = without_users(&text);
    let text = without_named(&text);
    words(&text)
}

/// A configuration file, line by line: known keys with their values, unknown keys with none.
pub(super) fn configuration(text: &str) -> String {
    let mut lines = Vec::new();
    let mut removed = 0;
    for line in text.lines() {
        match entry(line) {
            Some((indent, key, value)) => {
                let name = if misplaced::is_told(key) {
                    key
                } else {
                    UNKNOWN
                };
                let shown = match misplaced::key(key) {
                    _ if value.is_empty() => String::new(),
                    Some(known) if misplaced::fits(known, value) => {
                        format!(" {}", self::text(value))
                    }
                    _ => format!(" {REMOVED}"),
                };
                lines.push(format!("{indent}{name}:{shown}"));
            }
            None if line.trim().is_empty() || line.trim_start().starts_with('#') => {}
            None => removed += 1,
        }
    }
    if removed > 0 {
        lines.push(format!("# {removed} line(s) without a key {REMOVED}"));
    }
    lines.join("\n") + "\n"
}

/// Whether a key may hold a secret, by its name.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn entry(line: &str) -> Option<(&str, &str, &str)> {
    let body = line.trim_start();
    let indent = &line[..line.len() - body.len()];
    let (key, value) = body.split_once(':')?;
    let is_key = !key.is_empty()
        && key.len() <= LONGEST_KEY
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-');
    // `key:value` is no entry in YAML.
    let is_entry = value.is_empty() || value.starts_with([' ', '\t']);
    (is_key && is_entry).then(|| (indent, key, value.trim()))
}

fn without_private_keys(text: &str) -> String {
    let mut left = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(at) = left.find("-----BEGIN ") {
        let section = &left[at..];
        let label = section["-----BEGIN ".len()..]
            .split("-----")
            .next()
            .unwrap_or_default();
        if !label.contains("PRIVATE KEY") {
            let next = at + "-----BEGIN ".len();
            kept.push_str(&left[..next]);
            left = &left[next..];
            continue;
        }
        kept.push_str(&left[..at]);
        kept.push_str(REMOVED);
        // One that does not end goes on to the end of the text.
        let end = section.find("-----END ").and_then(|end| {
            let tail = &section[end + "-----END ".len()..];
            let close = tail.find("-----")?;
            Some(end + "-----END ".len() + close + "-----".len())
        });
        left = end.map_or("", |end| &section[end..]);
    }
    kept.push_str(left);
    kept
}

fn without_users(text: &str) -> String {
    let mut left = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(at) = left.find("://") {
        let (before, after) = left.split_at(at + "://".len());
        kept.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || "`'\"<>".contains(c))
            .unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(user) => {
                kept.push_str(REMOVED);
                left = &after[user..];
            }
            None => left = after,
        }
    }
    kept.push_str(left);
    kept
}

// `name: value` and `"name":"value"`, where the name is a secret's.
fn without_named(text: &str) -> String {
    let mut left = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(at) = left.find(':') {
        let (before, after) = (&left[..at], &left[at + 1..]);
        // What follows another colon at once is the second half of `service:action`.
        let is_first = kept.is_empty();
        kept.push_str(before);
        kept.push(':');
        left = after;
        let bare = before.trim_end_matches(['"', '\'']);
        let is_quoted = bare.len() < before.len();
        let start = bare.rfind(is_boundary).map_or(0, |at| {
            at + bare[at..].chars().next().map_or(1, char::len_utf8)
        });
        // Not a longer one, such as a path or an option.
        let is_whole = (start > 0 || is_first)
            && bare[start..].chars().all(is_of_name)
            && !bare[start..].starts_with('-');
        if !is_whole || !is_secret_name(&bare[start..]) {
            continue;
        }
        let value = after.trim_start_matches([' ', '\t']);
        let space = &after[..after.len() - value.len()];
        let quote = value.chars().next().filter(|c| "\"'`".contains(*c));
        // `service:action` and addresses are no entries.
        if space.is_empty() && !is_quoted && quote.is_none() {
            continue;
        }
        let inside = &value[quote.map_or(0, char::len_utf8)..];
        let end = match quote {
            Some(quote) => end_of_quoted(inside, quote),
            None => inside.find(is_boundary).unwrap_or(inside.len()),
        };
        let is_scheme = ["bearer", "basic"]
            .iter()
            .any(|scheme| inside[..end].eq_ignore_ascii_case(scheme));
        if end == 0 || is_scheme {
            continue;
        }
        kept.push_str(space);
        kept.extend(quote);
        kept.push_str(REMOVED);
        left = &inside[end..];
    }
    kept.push_str(left);
    kept
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

// The end of a quoted text, past what is escaped.
fn end_of_quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !is_escaped {
            return at;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    text.len()
}

fn words(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut after_scheme = false;
    for piece in text.split_inclusive(is_boundary) {
        let word = piece.trim_end_matches(is_boundary);
        let tail = &piece[word.len()..];
        let named = word
            .split_once('=')
            .filter(|(name, value)| is_secret_name(name) && !value.is_empty());
        if let Some((name, _)) = named {
            kept.push_str(name);
            kept.push('=');
            kept.push_str(REMOVED);
        } else if looks_like_token(word) || (after_scheme && word.len() >= SHORTEST_BEARER) {
            kept.push_str(REMOVED);
        } else {
            kept.push_str(word);
        }
        if !word.is_empty() {
            after_scheme = ["bearer", "basic"]
                .iter()
                .any(|scheme| word.eq_ignore_ascii_case(scheme));
        }
        kept.push_str(tail);
    }
    kept
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace() || "`'\",;&()<>{}[]".contains(c)
}

// JSON web tokens, key ids of AWS, and the tokens of GitHub and the like by their published beginnings.
fn looks_like_token(word: &str) -> bool {
    let key_id = |word: &str| {
        word.len() == 20
            && ["AKIA", "ASIA"].iter().any(|start| word.starts_with(start))
            && word
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let web_token = word.starts_with("eyJ") && word.len() > 30;
    web_token || word.split(['=', ':', '/', '.']).any(key_id)
}

/// What stands in place of a secret.
pub(super) const REMOVED: &str = "<removed>";

// In place of a key that is none, and may be anything.
const UNKNOWN: &str = "(unknown key)";

const SECRET_WORDS: [&str; 8] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "apikey",
    "api_key",
    "authorization",
];

// Longer than any key there is, shorter than most keys of another kind.
const LONGEST_KEY: usize = 48;

const SHORTEST_BEARER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_looks() {
        for (before, after) in [
            (
                "a -----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY----- b",
                "a <removed> b",
            ),
            ("a -----BEGIN PRIVATE KEY-----\nMIIB", "a <removed>"),
            (
                "mqtts://me:pa/s@s@host/t and https://h/x",
                "mqtts://<removed>@host/t and https://h/x",
            ),
            (
                "?token=abc&x=1, db_password=p w",
                "?token=<removed>&x=1, db_password=<removed> w",
            ),
            (
                "Authorization: Bearer abcdefgh12 x",
                "Authorization: Bearer <removed> x",
            ),
            ("db_password: hunter2 x", "db_password: <removed> x"),
            (
                r#"{"clientSecret":"a\"b c","token": 12,"x":"y"}"#,
                r#"{"clientSecret":"<removed>","token": <removed>,"x":"y"}"#,
            ),
            ("id AKIAIOSFODNN7EXAMPLE.", "id <removed>"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "<removed>"),
        ] {
            assert_eq!(text(before), after);
        }
        let action = "allow secretsmanager:DescribeSecret: it is refused; /run/secrets: not there";
        assert_eq!(text(action), action);
        let plain =
            "-----BEGIN CERTIFICATE----- `kubectl get secret -n a` https://a.b/c?d=e `x`: 12";
        assert_eq!(text(plain), plain);
    }

    #[test]
    fn of_a_configuration_only_what_is_known_to_be_harmless_stays() {
        let shown = configuration(
            "# secret\nbrokerHost: h:8883\nusername: CANARY\npassword: CANARY\nclientKeyData: |\n  CANARY\n\
             topics:\n  sourceEvents: maestro/consumers/+/sourceevents\nother: CANARY\n{\"a\": \"CANARY\"}\ncaFile: mqtts://CANARY@h\n",
        );
        assert!(!shown.contains("CANARY"), "{shown}");
        for line in [
            "brokerHost: h:8883",
            "  sourceEvents: maestro/consumers/+/sourceevents",
            "password: <removed>",
            "(unknown key): <removed>",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
    }
}
