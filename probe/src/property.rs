//! mosquitto's `-D COMMAND PROPERTY VALUE…`, as far as this client can send them.

use link::message::Message;

/// The properties of a PUBLISH that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    user: Vec<(String, String)>,
    content_type: Option<String>,
    expiry_seconds: Option<u32>,
}

/// Why a `-D` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// Not one of MQTT's commands, or one whose properties this client does not choose.
    #[error("`-D {command} {property}` is not supported")]
    Unsupported {
        /// What was asked for.
        command: String,
        /// Its property.
        property: String,
    },
    /// Too few or too many values.
    #[error("`-D {command} {property}` takes {expected} value(s)")]
    Arity {
        /// What was asked for.
        command: String,
        /// Its property.
        property: String,
        /// How many values there should be.
        expected: usize,
    },
    /// A value out of range.
    #[error("`-D publish {property}` is `{value}`, not {expected}")]
    Value {
        /// The property.
        property: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

// === impl Properties ===

impl Properties {
    /// Reads the values of all `-D` in order; each takes as many as its property needs.
    ///
    /// # Errors
    /// [`PropertyError`] names the property.
    pub fn parse(words: &[String]) -> Result<Self, PropertyError> {
        let mut properties = Self::default();
        let mut rest = words;
        while let Some((command, after)) = rest.split_first() {
            let property = after.first().cloned().unwrap_or_default();
            let expected = if property == "user-property" { 2 } else { 1 };
            let unsupported = !COMMANDS.contains(&command.as_str()) || command != "publish";
            if unsupported || !PROPERTIES.contains(&property.as_str()) {
                return Err(PropertyError::Unsupported {
                    command: command.clone(),
                    property,
                });
            }
            let values = after.get(1..=expected).ok_or(PropertyError::Arity {
                command: command.clone(),
                property: property.clone(),
                expected,
            })?;
            rest = after.get(1 + expected..).unwrap_or_default();
            // A group that is one value too long shows as a next group that starts with no command.
            if rest
                .first()
                .is_some_and(|word| !COMMANDS.contains(&word.as_str()))
            {
                return Err(PropertyError::Arity {
                    command: command.clone(),
                    property,
                    expected,
                });
            }
            properties.set(&property, values)?;
        }
        Ok(properties)
    }

    /// Puts the properties on a message.
    #[must_use]
    pub fn apply(&self, mut message: Message) -> Message {
        message.user_properties.extend(self.user.iter().cloned());
        message.content_type.clone_from(&self.content_type);
        message.expiry_seconds = self.expiry_seconds;
        message
    }

    fn set(&mut self, property: &str, values: &[String]) -> Result<(), PropertyError> {
        match (property, values) {
            ("user-property", [key, value]) => self.user.push((key.clone(), value.clone())),
            ("content-type", [value]) => self.content_type = Some(value.clone()),
            ("message-expiry-interval", [value]) => {
                let seconds = value.parse().ok().filter(|seconds| *seconds <= MAX_EXPIRY);
                self.expiry_seconds = Some(seconds.ok_or(PropertyError::Value {
                    property: "message-expiry-interval",
                    value: value.clone(),
                    expected: "a number of seconds up to 604800",
                })?);
            }
            _ => {}
        }
        Ok(())
    }
}

impl link::error::Hint for PropertyError {
    fn hint(&self) -> Option<String> {
        Some(
            "supported are `-D publish user-property KEY VALUE`, `-D publish content-type TYPE` and \
             `-D publish message-expiry-interval SECONDS`"
                .into(),
        )
    }
}

const COMMANDS: [&str; 8] = [
    "connect",
    "publish",
    "puback",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "auth",
    "will",
];

const PROPERTIES: [&str; 3] = ["user-property", "content-type", "message-expiry-interval"];

// IoT Core cuts longer ones to this (docs/IOT-CORE.md §1.2).
const MAX_EXPIRY: u32 = link::iot::limits::MESSAGE_EXPIRY_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Properties, PropertyError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_string).collect();
        Properties::parse(&words)
    }

    #[test]
    fn each_property_takes_its_own_number_of_values() {
        let all = parse(
            "publish user-property k v publish content-type text/plain \
             publish message-expiry-interval 60 publish user-property k w",
        )
        .unwrap();
        let message = all.apply(Message::new("t", "x"));
        let pair = |k: &str, v: &str| (k.to_string(), v.to_string());
        assert_eq!(message.user_properties, [pair("k", "v"), pair("k", "w")]);
        assert_eq!(message.content_type.as_deref(), Some("text/plain"));
        assert_eq!(message.expiry_seconds, Some(60));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        for (text, message) in [
            (
                "connect user-property k v",
                "`-D connect user-property` is not supported",
            ),
            (
                "publish topic-alias 3",
                "`-D publish topic-alias` is not supported",
            ),
            (
                "publish user-property k",
                "`-D publish user-property` takes 2 value(s)",
            ),
            (
                "publish content-type a b",
                "`-D publish content-type` takes 1 value(s)",
            ),
            (
                "publish message-expiry-interval soon",
                "`-D publish message-expiry-interval` is `soon`, not a number of seconds up to 604800",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }
}
