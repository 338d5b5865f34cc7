//! JSON text as Go's `encoding/json` writes it: compact, `<`, `>`, `&`, U+2028 and U+2029 escaped, floats
//! without a trailing `.0` (docs/MAESTRO.md §1.3). Maps come out sorted because `serde_json` keeps them sorted.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Serialises a value.
///
/// # Errors
/// Only if the value's own `Serialize` fails, for instance on a map whose keys are not text.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    let mut out = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(&mut out, GoFormatter))?;
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in fragment.char_indices() {
            let escape = match c {
                '<' => "\\u003c",
                '>' => "\\u003e",
                '&' => "\\u0026",
                '\u{2028}' => "\\u2028",
                '\u{2029}' => "\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            writer.write_all(escape.as_bytes())?;
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }

    // Go prints floats in plain notation between 1e-6 and 1e21 and drops a fraction of zero.
    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let magnitude = value.abs();
        if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
            return write!(writer, "{value}");
        }
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        match exponent.strip_prefix('-') {
            Some(exponent) if exponent.len() == 1 => write!(writer, "{digits}e-0{exponent}"),
            Some(exponent) => write!(writer, "{digits}e-{exponent}"),
            None if exponent.len() == 1 => write!(writer, "{digits}e+0{exponent}"),
            None => write!(writer, "{digits}e+{exponent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_and_numbers_are_written_as_go_writes_them() {
        let value = json!({"b": "x<y&z>\u{2028}\u{e9}\"", "a": [1.0, 1.5, 1e21, 1e-7, 1e100, 12345678901u64, null, {}]});
        assert_eq!(
            to_string(&value).unwrap(),
            "{\"a\":[1,1.5,1e+21,1e-07,1e+100,12345678901,null,{}],\"b\":\"x\\u003cy\\u0026z\\u003e\\u2028\u{e9}\\\"\"}"
        );
    }
}
