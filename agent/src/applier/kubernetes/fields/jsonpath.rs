//! Fields by JSONPath in kubectl's dialect, without braces.
//!
//! A path is bounded in what it may hold, because the library gathers every match before it answers: a few nested
//! unions or descents over a large manifest would fill the memory.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};

use super::path::{FieldPath, PathSegment};
use crate::jsonpath;

/// The paths that a JSONPath matches.
///
/// # Errors
/// A phrase that says what is wrong with the path.
pub(super) fn find(path: &str, document: &Value) -> Result<BTreeSet<FieldPath>, String> {
    bounded(path)?;
    let query = jsonpath::translate(path)?;
    let query = JsonPath::parse(&query).map_err(|error| format!("is not a JSONPath: {error}"))?;
    let paths = query.query_located(document).all().into_iter();
    Ok(paths
        .map(|node| node.location().iter().map(segment).collect())
        .collect())
}

fn segment(element: &PathElement<'_>) -> PathSegment {
    match element {
        PathElement::Name(name) => PathSegment::Key((*name).to_owned()),
        PathElement::Index(index) => PathSegment::Index(*index),
    }
}

fn bounded(path: &str) -> Result<(), String> {
    if path.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    for (mark, most) in [("..", 1), ("?", 2), (",", 4), ("[", 32)] {
        if path.matches(mark).count() > most {
            return Err(format!("holds `{mark}` more than {most} times"));
        }
    }
    if path.trim_start_matches([' ', '$']).contains('$') {
        return Err("may hold `$` only at its beginning".into());
    }
    Ok(())
}

const MAX_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn count(path: &str) -> Result<usize, String> {
        let document = json!({"spec": {"containers": [
            {"name": "web", "image": "a"}, {"name": "istio-proxy", "image": "b"},
        ]}, "metadata": {"annotations": {"a.b/c": "1"}}});
        find(path, &document).map(|paths| paths.len())
    }

    #[test]
    fn kubectl_paths_find_fields() {
        for (path, found) in [
            (".spec.containers[*].image", 2),
            ("$.spec.containers[0]", 1),
            (".spec.containers[-1].image", 1),
            (r#".spec.containers[?(@.name=="istio-proxy")].image"#, 1),
            (r".metadata.annotations.a\.b/c", 1),
            ("..image", 2),
            (".spec.missing.x", 0),
            (".spec.containers.image", 0),
        ] {
            assert_eq!(count(path), Ok(found), "{path}");
        }
    }

    #[test]
    fn paths_that_multiply_are_refused() {
        for (path, problem) in [
            ("..a..b".to_owned(), "`..` more than 1"),
            (format!(".a{}", "[*,*]".repeat(20)), "`,` more than 4"),
            (".a[?(@.b == $.c)]".to_owned(), "`$` only at its beginning"),
            (format!(".{}", "a".repeat(600)), "longer than 512"),
            ("{.a}".to_owned(), "braces"),
            (".a[".to_owned(), "not closed"),
        ] {
            let error = count(&path).unwrap_err();
            assert!(error.contains(problem), "{path}: {error}");
        }
    }
}
