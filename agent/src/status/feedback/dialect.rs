//! kubectl's JSONPath dialect, put into the words of RFC 9535: names with `-` or `/` and escaped dots are quoted.

/// Translates a path without braces.
///
/// # Errors
/// A phrase that says what the path lacks.
pub(super) fn translate(path: &str) -> Result<String, &'static str> {
    let path = path.trim();
    let body = path.strip_prefix('$').unwrap_or(path);
    if path.contains(['{', '}']) {
        return Err("may not hold braces");
    }
    if !body.is_empty() && !body.starts_with(['.', '[']) {
        return Err("must begin with a dot");
    }
    let mut out = String::from("$");
    steps(body, &mut out)?;
    Ok(out)
}

// Copies a path after its root: dotted names quoted, brackets as they are but for paths in filters.
fn steps(path: &str, out: &mut String) -> Result<(), &'static str> {
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        match first {
            '.' => {
                let recursive = rest.starts_with("..");
                rest = rest.trim_start_matches('.');
                let (name, after) = name(rest);
                rest = after;
                let bracket = rest.starts_with('[');
                match (name.as_str(), recursive) {
                    ("", true) if bracket => out.push_str(".."),
                    ("", false) if bracket || rest.is_empty() => {}
                    ("", _) => return Err("holds a dot without a name"),
                    ("*", true) => out.push_str("..[*]"),
                    ("*", false) => out.push_str("[*]"),
                    (name, recursive) => {
                        out.push_str(if recursive { "..[" } else { "[" });
                        quote(name, out);
                        out.push(']');
                    }
                }
            }
            '[' => {
                let end = closing(rest).ok_or("holds a bracket that is not closed")?;
                let inner = &rest[1..end];
                rest = &rest[end + 1..];
                out.push('[');
                match inner.trim().strip_prefix('?') {
                    Some(filter) => {
                        out.push('?');
                        expression(filter, out)?;
                    }
                    None => out.push_str(inner),
                }
                out.push(']');
            }
            _ => return Err("holds a name without a dot before it"),
        }
    }
    Ok(())
}

// Copies a filter, translating each `@` or `$` path in it.
fn expression(filter: &str, out: &mut String) -> Result<(), &'static str> {
    let mut rest = filter;
    while let Some(first) = rest.chars().next() {
        match first {
            '"' | '\'' => {
                let end = quoted(rest).ok_or("holds a text that is not closed")?;
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            '@' | '$' => {
                out.push(first);
                let path = &rest[1..];
                let end = path_end(path);
                steps(&path[..end], out)?;
                rest = &path[end..];
            }
            other => {
                out.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    Ok(())
}

// Reads a name up to the next unescaped dot or bracket, or what ends a path in a filter.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                if let Some((_, escaped)) = chars.next() {
                    name.push(escaped);
                }
            }
            '.' | '[' => return (name, &text[at..]),
            other => name.push(other),
        }
    }
    (name, "")
}

fn path_end(text: &str) -> usize {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '[' => match closing(&text[at..]) {
                Some(end) => at += end + 1,
                None => return text.len(),
            },
            '\\' => {
                at += 1;
                at += text[at..].chars().next().map_or(0, char::len_utf8);
            }
            ' ' | '\t' | '=' | '!' | '<' | '>' | ')' | '&' | '|' | ',' => return at,
            other => at += other.len_utf8(),
        }
    }
    at
}

// Index of the bracket that closes the first one, minding texts.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' | '\'' => {
                at += quoted(&text[at..])?;
                continue;
            }
            '[' => depth += 1,
            ']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    None
}

// Length of the text that begins here, quotes included.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

fn quote(name: &str, out: &mut String) {
    out.push('\'');
    for c in name.chars() {
        if matches!(c, '\'' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('\'');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kubectl_paths_become_rfc_9535() {
        for (kubectl, rfc) in [
            (".status.conditions", "$['status']['conditions']"),
            ("$.a-b/c", "$['a-b/c']"),
            (r".a\.b.c", "$['a.b']['c']"),
            (".l[*].x", "$['l'][*]['x']"),
            (".l[0:2]", "$['l'][0:2]"),
            ("..name", "$..['name']"),
            (".*", "$[*]"),
            ("['a']['b']", "$['a']['b']"),
            (
                r#".c[?(@.my-type=="a]b")].s"#,
                r#"$['c'][?(@['my-type']=="a]b")]['s']"#,
            ),
            ("", "$"),
        ] {
            assert_eq!(translate(kubectl).as_deref(), Ok(rfc));
        }
        assert!(translate("{.a}").is_err());
        assert!(translate("a").is_err());
        assert!(translate(".a[").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_paths_never_panic(path in r#"[.\[\]a-z@?()'"\\$*é ]{0,30}|.{0,30}"#) {
            if let Ok(query) = translate(&path) {
                let _ = serde_json_path::JsonPath::parse(&query);
            }
        }
    }
}
