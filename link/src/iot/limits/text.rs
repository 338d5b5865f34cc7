//! What one text in a packet may be: the name or value of a user property, and the content type.

use super::{LimitError, TEXT_BYTES};

pub(super) fn check_property(what: &'static str, name: &str, text: &str) -> Result<(), LimitError> {
    if text.len() > TEXT_BYTES {
        return Err(LimitError::Property {
            what,
            name: name.to_owned(),
            bytes: text.len(),
            limit: TEXT_BYTES,
        });
    }
    match text.chars().find(|character| !is_carried(*character)) {
        None => Ok(()),
        Some(character) => Err(LimitError::Character {
            what,
            name: name.to_owned(),
            character: character.into(),
        }),
    }
}

/// Whether brokers take a character in a text. A null character makes a packet malformed; control characters and
/// non-characters may (MQTT 5 §1.5.4), and mosquitto ends the connection for them.
pub(crate) fn is_carried(character: char) -> bool {
    let code = u32::from(character);
    !character.is_control() && !matches!(code, 0xfdd0..=0xfdef) && code & 0xfffe != 0xfffe
}

/// Whether brokers take every character of a text, such as the value of a user property.
pub fn is_text(text: &str) -> bool {
    text.chars().all(is_carried)
}
