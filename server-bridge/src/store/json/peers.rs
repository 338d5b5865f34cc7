//! What every reader of our JSON can read: Go's `encoding/json` refuses a whole list for one number beyond a 64-bit
//! float, strict parsers one for half a surrogate pair, and every parser has a depth at which it gives up.

use serde::de::IgnoredAny;

use super::InvalidJson;

/// How deeply arrays and objects may be nested: `serde_json` reads 127 levels into a value and Go 10 000, and a list puts
/// a few more around.
pub const MAX_DEPTH: usize = 120;

/// Checks that the text is one JSON value, that its strings are Unicode, that its numbers are finite as 64-bit floats, and
/// its depth.
///
/// # Errors
/// [`InvalidJson`] names the place.
pub(super) fn check(text: &str) -> Result<(), InvalidJson> {
    // Accepts any depth, any number and any escape; from here on the text is well-formed.
    serde_json::from_str::<IgnoredAny>(text)?;
    let mut place = Vec::new();
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' => place.push(Step::Member(0..0)),
            b'[' => place.push(Step::Element(0)),
            b'}' | b']' => {
                place.pop();
            }
            b',' => {
                if let Some(Step::Element(index)) = place.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let end = string_end(bytes, at);
                if text[at..end].contains("\\u") {
                    // Half a surrogate pair is no character.
                    serde_json::from_str::<String>(&text[at..end])?;
                }
                // A string before a colon names the member; a value that is a string names nothing that follows.
                if let Some(Step::Member(name)) = place.last_mut()
                    && next_is_colon(bytes, end)
                {
                    *name = at + 1..end - 1;
                }
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, at);
                let number = &text[at..end];
                if number.parse::<f64>().is_ok_and(f64::is_infinite) {
                    return Err(InvalidJson::Number {
                        place: written(text, &place),
                        number: number.chars().take(SHOWN).collect(),
                    });
                }
                at = end;
                continue;
            }
            _ => {}
        }
        if place.len() > MAX_DEPTH {
            return Err(InvalidJson::Depth);
        }
        at += 1;
    }
    Ok(())
}

/// One step from a value to a value inside it.
enum Step {
    /// The range of the member's name in the text.
    Member(std::ops::Range<usize>),
    Element(usize),
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn next_is_colon(bytes: &[u8], from: usize) -> bool {
    let next = bytes.iter().skip(from).find(|b| !b.is_ascii_whitespace());
    next == Some(&b':')
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let inside = |b: &&u8| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    start + bytes.iter().skip(start).take_while(inside).count()
}

/// `manifests[0].spec.replicas`; a bounded number of characters.
fn written(text: &str, place: &[Step]) -> String {
    let mut path = String::new();
    for step in place {
        match step {
            Step::Member(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(text.get(name.clone()).unwrap_or_default());
            }
            Step::Element(index) => path.push_str(&format!("[{index}]")),
        }
    }
    link::telemetry::clip(&path, PATH_BYTES).into_owned()
}

const SHOWN: usize = 40;
const PATH_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_no_float_holds_is_named_with_its_place_and_the_largest_that_one_holds_passes() {
        let text = r#"{"a":"1e999","manifests":[{"x":1},{"spec" : {"y":[1,"]",{"z\"":0}],"n":[0, -1e999]}}]}"#;
        assert_eq!(
            check(text).unwrap_err().to_string(),
            "number `-1e999` at `manifests[1].spec.n[1]` is beyond a 64-bit float"
        );
        for good in [
            "1.7976931348623157e308",
            "1e-999",
            "123456789012345678901234567890",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["1.8e308", "[1e309]", &"9".repeat(400)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_wherever_it_stands_and_a_whole_one_passes() {
        for bad in [
            r#""\ud800""#,
            r#"{"conditions":[],"x":"\uD800"}"#,
            r#"{"a\udc00":1}"#,
            r#"["\ud83d\ud83d\ude00"]"#,
            r#"["\ud83dx\ude00"]"#,
            r#"["\ude00\ud83d"]"#,
        ] {
            assert!(check(bad).is_err(), "{bad}");
            assert!(serde_json::from_str::<serde_json::Value>(bad).is_err());
        }
        for good in [
            r#"["\ud83d\ude00","\u0041\n"]"#,
            r#"{"\\ud800":"\\\\udc00"}"#,
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_greatest_depth_passes_and_is_read_even_inside_a_list_and_one_more_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(&nested(MAX_DEPTH)).is_ok());
        let listed = format!("{{\"items\":[{{\"status\":{}}}]}}", nested(MAX_DEPTH));
        assert!(serde_json::from_str::<serde_json::Value>(&listed).is_ok());
        assert!(matches!(
            check(&nested(MAX_DEPTH + 1)),
            Err(InvalidJson::Depth)
        ));
    }

    proptest::proptest! {
        #[test]
        fn what_serde_reads_as_a_value_passes(text in r#"([\[\]{}",:\\0-9eE+\-. au]|\\ud[8-9c-d]00){0,40}"#) {
            let value = serde_json::from_str::<serde_json::Value>(&text);
            proptest::prop_assert_eq!(value.is_ok(), check(&text).is_ok(), "{}", text);
        }
    }
}
