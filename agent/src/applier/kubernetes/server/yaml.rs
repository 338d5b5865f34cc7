//! JSON that is read as YAML, which is what the API server does with server-side apply.
//!
//! YAML is not quite a superset: some characters that JSON has in strings as they are end a line there, so that the
//! white space around them is lost, and others may not stand there at all. Escaped they mean the same to both.

use std::fmt::Write as _;

/// The same JSON without the characters that YAML reads otherwise.
pub(super) fn safe(json: Vec<u8>) -> Vec<u8> {
    let text = match String::from_utf8(json) {
        Ok(text) if text.contains(is_read_otherwise) => text,
        Ok(text) => return text.into_bytes(),
        Err(error) => return error.into_bytes(),
    };
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        if is_read_otherwise(character) {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped.into_bytes()
}

fn is_read_otherwise(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn odd_characters_are_escaped_and_mean_the_same() {
        let odd = json!({"a": " \u{2028}\u{2029} \u{85} \u{7f}\u{feff}\u{ffff} é 🦀 \\u2028"});
        let safe = safe(odd.to_string().into_bytes());
        let text = std::str::from_utf8(&safe).unwrap();
        assert!(!text.contains(is_read_otherwise), "{text}");
        assert!(
            text.contains(r" \u2028\u2029 \u0085 \u007f\ufeff\uffff é 🦀 \\u2028"),
            "{text}"
        );
        assert_eq!(serde_json::from_slice::<Value>(&safe).unwrap(), odd);
    }
}
