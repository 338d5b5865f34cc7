//! Takes secrets out of text, by what they look like and by the key that they stand at.
//!
//! What goes into findings and archives is chosen so that it holds none; this is the second look. Configuration files are
//! taken by an allow-list: a value stays only at a key that is known to hold no secret, and only in the shape that the key
//! asks for (`misplaced`).

mod misplaced;
mod named;
mod names;
mod words;

use link::printable::printable;
use serde_json::Value;

pub(crate) use self::misplaced::Misplaced;

/// Text without what looks like a secret: private keys in PEM, users and passwords of URLs, values at names of secrets, tokens.
pub(crate) fn text(text: &str) -> String {
    let text = without_private_keys(text);
    let text = without_users(&text);
    let text = named::without(&text);
    words::without_secrets(&text)
}

/// The same of every text in a value: what is written as JSON already cannot be cut without breaking it.
pub(crate) fn value(value: &mut Value) {
    match value {
        Value::String(words) => *words = text(words),
        Value::Array(values) => values.iter_mut().for_each(self::value),
        Value::Object(members) => members.values_mut().for_each(self::value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Text of whoever wrote it, line by line, without what a terminal acts on or does not show, and not endless.
pub(crate) fn shown(text: &str, most_bytes: usize) -> String {
    let lines: Vec<String> = text.replace('\t', " ").lines().map(printable).collect();
    let mut shown = lines.join("\n");
    if shown.len() > most_bytes {
        let bytes = text.len();
        shown.truncate(shown.floor_char_boundary(most_bytes));
        shown.push_str(&format!("… ({bytes} bytes)"));
    }
    shown
}

/// A configuration file, line by line: known keys with their values, unknown keys with none.
pub(crate) fn configuration(text: &str) -> String {
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
            .find(|c: char| c.is_whitespace() || "`\"<>".contains(c))
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

/// What stands in place of a secret.
const REMOVED: &str = "<removed>";

// In place of a key that is none, and may be anything.
const UNKNOWN: &str = "(unknown key)";

// Longer than any key there is, shorter than most keys of another kind.
const LONGEST_KEY: usize = 48;

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
            ("mqtts://me:it's@h", "mqtts://<removed>@h"),
            // Assigned, quoted, and with blanks, as in connection strings and files of settings.
            (
                "host=h password='a b' user=u",
                "host=h password='<removed>' user=u",
            ),
            (r#"password="a\" b" x"#, r#"password="<removed>" x"#),
            ("db.password = hunter2 x", "db.password = <removed> x"),
            (
                "AccountKey=abc==;Endpoint=h",
                "AccountKey=<removed>;Endpoint=h",
            ),
            (
                "h?x=1?sig=a&X-Amz-Signature=0123&y=2",
                "h?x=1?sig=<removed>&X-Amz-Signature=<removed>&y=2",
            ),
            (
                "x-api-key: abc; Cookie: a=b",
                "x-api-key: <removed>; Cookie: <removed>",
            ),
            ("Authorization: Token abc x", "Authorization: <removed> x"),
            // JSON in JSON, at any depth.
            (
                r#"{\"password\":\"a\\\"b c\",\"x\":\"y\"}"#,
                r#"{\"password\":\"<removed>\",\"x\":\"y\"}"#,
            ),
            (
                r#"{\\\"token\\\": \\\"abc\\\"}"#,
                r#"{\\\"token\\\": \\\"<removed>\\\"}"#,
            ),
            // Tokens by their published beginnings, wherever they stand.
            (
                "https://h/cb?code=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
                "https://h/cb?code=<removed>",
            ),
            (
                "sent:eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
                "sent:<removed>",
            ),
            (
                "by ghp_abcdefghijklmnopqrstuvwxyz0123456789",
                "by <removed>",
            ),
            (
                "k8s-aws-v1.aHR0cHM6Ly9zdHMuYW1hem9uYXdzLmNvbS8",
                "<removed>",
            ),
            // A key in base64, as a Secret has it.
            (
                "tls.key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JR0g=",
                "tls.key: <removed>",
            ),
        ] {
            assert_eq!(text(before), after);
            assert_eq!(text(after), after, "a second time");
        }
        let action = "allow secretsmanager:DescribeSecret: it is refused; /run/secrets: not there";
        assert_eq!(text(action), action);
        let fault = "sts:GetCallerIdentity: ExpiredTokenException: The security token is expired";
        assert_eq!(text(fault), fault);
        let plain =
            "-----BEGIN CERTIFICATE----- `kubectl get secret -n a` https://a.b/c?d=e `x`: 12";
        assert_eq!(text(plain), plain);
    }

    #[test]
    fn a_value_stays_json_whatever_is_in_its_texts() {
        let texts = [
            r#"password="x""#,
            r"token=\",
            "secret='a",
            r#"{"password":"#,
        ];
        let mut written = serde_json::json!({"a": [texts], "n": 1});
        value(&mut written);
        let read: Value = serde_json::from_str(&written.to_string()).unwrap();
        assert_eq!(read["n"], 1);
        assert!(!read.to_string().contains("=\\\"x"), "{read}");
    }

    #[test]
    fn what_a_terminal_obeys_is_not_shown_and_no_text_is_endless() {
        let hostile = "a\u{1b}[2Jb\u{202e}c\r\nd\0\te";
        assert_eq!(shown(hostile, 100), "a\u{fffd}[2Jb\u{fffd}c\nd\u{fffd} e");
        assert_eq!(
            shown("Straße", 6),
            "Straße".chars().take(5).collect::<String>() + "… (7 bytes)"
        );
        assert_eq!(shown("Straße", 7), "Straße");
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
