//! As much of protobuf as a dozen small messages need: texts, booleans, and maps of texts. Their numbers are those of
//! `csi.proto` and `pluginregistration/v1/api.proto`.

use std::collections::BTreeMap;

/// The fields of a message in its order.
#[derive(Debug)]
pub(super) struct Message<'a>(Vec<(u64, Field<'a>)>);

#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

// === impl Message ===

impl<'a> Message<'a> {
    /// `None` for what is no message.
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = number(&mut bytes)?;
            let field = match key & 7 {
                0 => Field::Number(number(&mut bytes)?),
                1 => Field::Bytes(take(&mut bytes, 8)?),
                2 => {
                    let length = usize::try_from(number(&mut bytes)?).ok()?;
                    Field::Bytes(take(&mut bytes, length)?)
                }
                5 => Field::Bytes(take(&mut bytes, 4)?),
                _ => return None,
            };
            fields.push((key >> 3, field));
        }
        Some(Self(fields))
    }

    /// A text, empty where the field is missing.
    pub(super) fn text(&self, field: u64) -> String {
        let text = self.bytes(field).last().map(String::from_utf8_lossy);
        text.unwrap_or_default().into_owned()
    }

    /// A boolean, false where the field is missing.
    pub(super) fn flag(&self, field: u64) -> bool {
        let mut found = self.0.iter().filter(|(number, _)| *number == field);
        found.any(|(_, value)| matches!(value, Field::Number(number) if *number != 0))
    }

    /// A map of texts.
    pub(super) fn map(&self, field: u64) -> Option<BTreeMap<String, String>> {
        let entries = self.bytes(field).map(Message::read);
        let entry = |entry: Option<Message<'_>>| entry.map(|it| (it.text(1), it.text(2)));
        entries.map(entry).collect()
    }

    fn bytes(&self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        let found = self.0.iter().filter(move |(number, _)| *number == field);
        found.filter_map(|(_, value)| match value {
            Field::Bytes(bytes) => Some(*bytes),
            Field::Number(_) => None,
        })
    }
}

/// A message of nothing but texts.
pub(super) fn texts(fields: &[(u8, &str)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (field, text) in fields {
        message.push(field << 3 | 2);
        let mut length = text.len();
        while length > 0x7f {
            message.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(text.bytes());
    }
    message
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let long = "x".repeat(300);
        let entry = String::from_utf8(texts(&[(1, "key"), (2, "value")])).unwrap();
        let mut bytes = texts(&[(1, "id"), (4, &long), (8, &entry)]);
        bytes.extend([6 << 3, 1]);
        let message = Message::read(&bytes).unwrap();
        assert_eq!(message.text(1), "id");
        assert_eq!(message.text(4), long);
        assert_eq!(message.map(8).unwrap()["key"], "value");
        assert!(message.flag(6) && !message.flag(7));
        assert_eq!(message.text(9), "");
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        for odd in [&[0x0a][..], &[0x0a, 5, 1], &[0x80; 12], &[0x0f]] {
            assert!(Message::read(odd).is_none(), "{odd:?}");
        }
    }
}
