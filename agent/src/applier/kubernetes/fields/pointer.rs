//! Fields by JSON pointer (RFC 6901).

use std::collections::BTreeSet;

use serde_json::Value;

use super::path::{FieldPath, PathSegment};

/// The path of a pointer, if there is something.
///
/// # Errors
/// A phrase that says what the pointer lacks.
pub(super) fn find(pointer: &str, document: &Value) -> Result<BTreeSet<FieldPath>, String> {
    let tokens = match pointer.strip_prefix('/') {
        Some(rest) => rest
            .split('/')
            .map(unescape)
            .collect::<Result<Vec<_>, _>>()?,
        None if pointer.is_empty() => return Ok(BTreeSet::from([FieldPath::new()])),
        None => return Err("must begin with a slash".into()),
    };
    let mut path = FieldPath::new();
    let mut at = document;
    for token in tokens {
        let segment = match at {
            Value::Array(_) => index(&token).map(PathSegment::Index),
            _ => Some(PathSegment::Key(token)),
        };
        let next = segment.and_then(|segment| Some((segment.child_of(at)?, segment)));
        let Some((value, segment)) = next else {
            return Ok(BTreeSet::new());
        };
        at = value;
        path.push(segment);
    }
    Ok(BTreeSet::from([path]))
}

fn unescape(token: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err("holds a `~` that is neither `~0` nor `~1`".into()),
            },
            other => other,
        });
    }
    Ok(out)
}

// Digits without a leading zero; anything else names no element.
fn index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|byte| byte.is_ascii_digit());
    let padded = token.len() > 1 && token.starts_with('0');
    (plain && !padded).then(|| token.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_follow_rfc_6901() {
        let document = json!({"a/b": {"~": [10, {"": 1}]}, "01": 2});
        let key = |name: &str| PathSegment::Key(name.into());
        for (pointer, path) in [
            (
                "/a~1b/~0/0",
                Some(vec![key("a/b"), key("~"), PathSegment::Index(0)]),
            ),
            (
                "/a~1b/~0/1/",
                Some(vec![key("a/b"), key("~"), PathSegment::Index(1), key("")]),
            ),
            ("/01", Some(vec![key("01")])),
            ("", Some(vec![])),
            ("/a~1b/~0/2", None),
            ("/a~1b/~0/-", None),
            ("/a~1b/~0/00", None),
            ("/a~1b/~0/+1", None),
            ("/missing/x", None),
        ] {
            let found = find(pointer, &document).unwrap();
            assert_eq!(found.into_iter().next(), path, "{pointer}");
        }
    }

    #[test]
    fn broken_pointers_say_what_they_lack() {
        for (pointer, problem) in [("a", "begin with a slash"), ("/a~2", "`~`"), ("/~", "`~`")] {
            let error = find(pointer, &json!({})).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
