//! Manifests as YAML text and back.

use serde_json::Value;

/// Block style for people; where that would not read back equal, the JSON form, which is YAML as well.
pub(super) fn render(manifest: &Value) -> Result<String, String> {
    let text = serde_saphyr::to_string(manifest).map_err(|error| error.to_string())?;
    if parse(&text).as_ref() == Ok(manifest) {
        return Ok(text);
    }
    let json = serde_json::to_string_pretty(manifest).map_err(|error| error.to_string())?;
    Ok(json + "\n")
}

/// Reads a file; JSON is taken as JSON, which keeps every number as it is.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    if text.starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    serde_saphyr::from_str(text).map_err(|error| first_line(&error.to_string()))
}

// Below it the reader shows the lines around the mistake, and those may be a Secret's.
fn first_line(error: &str) -> String {
    error.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn manifests_read_back_equal() {
        let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"yes": "yes", "n": "1e3", "null": "null", "empty": "", "lines": "a\n  b\n", "u": "\u{2028}<&>",
            "date": "2026-01-01", "tilde": "~", "hash": "# no", "colon": "a: b"},
            "numbers": [1, 1.5, 12345678901u64, -1], "none": null, "list": [], "map": {}});
        let text = render(&manifest).unwrap();
        assert_eq!(parse(&text).unwrap(), manifest);
        assert!(text.starts_with("apiVersion: v1\n"), "{text}");
    }

    #[test]
    fn a_mistake_is_told_without_the_lines_around_it() {
        let error = parse("kind: Secret\nstringData:\n  key: s3cret\n a: b\n").unwrap_err();
        assert!(error.contains("line 4"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_text_reads_back_equal(key in ".{0,20}", value in "(.|\n){0,80}") {
            let manifest = json!({"data": {key: value}});
            prop_assert_eq!(parse(&render(&manifest).unwrap()).unwrap(), manifest);
        }
    }
}
