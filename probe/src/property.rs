//! mosquitto's `-D COMMAND PROPERTY VALUE…`, as far as this client sends them. Command and property may be written in
//! any case.

use link::error::Hint;
use link::iot::limits::{self, MESSAGE_EXPIRY_MAX, TEXT_BYTES};
use link::message::{ExtraProperties, Message};

/// The properties that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    publish: MessageProperties,
    will: MessageProperties,
    will_delay_seconds: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct MessageProperties {
    user: Vec<(String, String)>,
    content_type: Option<String>,
    expiry_seconds: Option<u32>,
    extra: ExtraProperties,
}

/// Why a `-D` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// Not one of MQTT's commands.
    #[error("`-D {0}` names no MQTT command")]
    Command(String),
    /// A property that this client does not send, or not with this verb.
    #[error("`-D {command} {property}` is not sent")]
    Unsupported {
        /// The command, in small letters.
        command: String,
        /// Its property, in small letters.
        property: String,
    },
    /// Too few or too many values.
    #[error("`-D {command} {property}` takes {expected} value(s)")]
    Arity {
        /// The command.
        command: String,
        /// Its property.
        property: String,
        /// How many values there should be.
        expected: usize,
    },
    /// A value out of range.
    #[error("`-D {command} {property}` is `{value}`, not {expected}")]
    Value {
        /// The command.
        command: String,
        /// The property.
        property: String,
        /// The value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Whether there are messages to publish, and so properties of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishes {
    /// `probe publish`.
    Yes,
    /// `probe subscribe`.
    No,
}

// === impl Properties ===

impl Properties {
    /// Reads the values of all `-D` in order; each takes as many as its property needs.
    ///
    /// # Errors
    /// [`PropertyError`] names the property.
    pub fn parse(words: &[String], publishes: Publishes) -> Result<Self, PropertyError> {
        let mut properties = Self::default();
        let mut rest = words;
        while let Some((command, after)) = rest.split_first() {
            let command = command.to_ascii_lowercase();
            let property = after
                .first()
                .map(|property| property.to_ascii_lowercase())
                .unwrap_or_default();
            if !COMMANDS.contains(&command.as_str()) {
                return Err(PropertyError::Command(command));
            }
            let sent = match command.as_str() {
                "publish" => publishes == Publishes::Yes && PROPERTIES.contains(&property.as_str()),
                "will" => PROPERTIES.contains(&property.as_str()) || property == WILL_DELAY,
                _ => false,
            };
            if !sent {
                return Err(PropertyError::Unsupported { command, property });
            }
            let expected = if property == "user-property" { 2 } else { 1 };
            let values = after.get(1..=expected);
            rest = after.get(1 + expected..).unwrap_or_default();
            // A group that is one value too long shows as a next group that starts with no command.
            let goes_on = rest.first().is_none_or(|word| is_command(word));
            let (Some(values), true) = (values, goes_on) else {
                return Err(PropertyError::Arity {
                    command,
                    property,
                    expected,
                });
            };
            properties.set(&command, &property, values)?;
        }
        Ok(properties)
    }

    /// Puts the properties of `publish` on a message.
    #[must_use]
    pub fn apply(&self, message: Message) -> Message {
        self.publish.apply(message)
    }

    /// Puts the properties of `will` on a message.
    #[must_use]
    pub fn apply_to_will(&self, message: Message) -> Message {
        self.will.apply(message)
    }

    /// How long the broker waits before it publishes the will.
    pub fn will_delay_seconds(&self) -> Option<u32> {
        self.will_delay_seconds
    }

    /// Whether there is any property of a will.
    pub fn has_will(&self) -> bool {
        self.will != MessageProperties::default() || self.will_delay_seconds.is_some()
    }

    fn set(
        &mut self,
        command: &str,
        property: &str,
        values: &[String],
    ) -> Result<(), PropertyError> {
        let wrong = |expected| PropertyError::Value {
            command: command.into(),
            property: property.into(),
            value: values.join(" "),
            expected,
        };
        let [first, ..] = values else { return Ok(()) };
        if property == WILL_DELAY {
            let seconds = first.parse().map_err(|_| wrong("a number of seconds"))?;
            self.will_delay_seconds = Some(seconds);
            return Ok(());
        }
        let of = match command {
            "will" => &mut self.will,
            _ => &mut self.publish,
        };
        match (property, values) {
            ("user-property", [key, value]) => of.user.push((key.clone(), value.clone())),
            ("content-type", _) => of.content_type = Some(first.clone()),
            ("message-expiry-interval", _) => {
                let seconds = first.parse().ok();
                let seconds = seconds.filter(|seconds| *seconds <= MESSAGE_EXPIRY_MAX);
                of.expiry_seconds = Some(seconds.ok_or(wrong("a number of seconds up to 604800"))?);
            }
            ("payload-format-indicator", _) => {
                let indicator = first.parse().ok().filter(|indicator| *indicator <= 1);
                of.extra.payload_format_indicator =
                    Some(indicator.ok_or(wrong("0 (bytes) or 1 (UTF-8 text)"))?);
            }
            ("response-topic", _) => {
                limits::check_topic(first).map_err(|_| wrong("a topic that the broker takes"))?;
                of.extra.response_topic = Some(first.clone());
            }
            ("correlation-data", _) if first.len() <= TEXT_BYTES => {
                of.extra.correlation_data = Some(first.clone().into());
            }
            _ => return Err(wrong("of a length that a property may have")),
        }
        Ok(())
    }
}

// === impl MessageProperties ===

impl MessageProperties {
    fn apply(&self, mut message: Message) -> Message {
        message.user_properties.extend(self.user.iter().cloned());
        message.content_type.clone_from(&self.content_type);
        message.expiry_seconds = self.expiry_seconds;
        if self.extra != ExtraProperties::default() {
            message.extra = Some(Box::new(self.extra.clone()));
        }
        message
    }
}

// === impl PropertyError ===

impl Hint for PropertyError {
    fn hint(&self) -> Option<String> {
        let supported = || {
            format!(
                "those of `-D publish` (with `probe publish`) and `-D will` are sent: {}; of `will` also {WILL_DELAY}",
                PROPERTIES.join(", ")
            )
        };
        Some(match self {
            Self::Unsupported { command, property } => {
                match (command.as_str(), property.as_str()) {
                    ("connect" | "disconnect", "session-expiry-interval") => {
                        "give it with `-x SECONDS`".into()
                    }
                    ("publish", "topic-alias") => {
                        "leave it out: each message is sent with its whole topic".into()
                    }
                    _ => supported(),
                }
            }
            Self::Command(_) => {
                "write `-D publish PROPERTY VALUE` or `-D will PROPERTY VALUE`".into()
            }
            Self::Arity { .. } => supported(),
            Self::Value { .. } => return None,
        })
    }
}

fn is_command(word: &str) -> bool {
    COMMANDS
        .iter()
        .any(|command| command.eq_ignore_ascii_case(word))
}

const COMMANDS: [&str; 10] = [
    "connect",
    "publish",
    "puback",
    "pubrec",
    "pubcomp",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "auth",
    "will",
];

const PROPERTIES: [&str; 6] = [
    "user-property",
    "content-type",
    "message-expiry-interval",
    "response-topic",
    "correlation-data",
    "payload-format-indicator",
];

const WILL_DELAY: &str = "will-delay-interval";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Properties, PropertyError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_string).collect();
        Properties::parse(&words, Publishes::Yes)
    }

    #[test]
    fn each_property_takes_its_own_number_of_values_in_any_case() {
        let all = parse(
            "PUBLISH user-property k v Publish Content-Type text/plain publish response-topic r/t \
             publish message-expiry-interval 60 publish user-property k w publish CORRELATION-DATA id \
             publish payload-format-indicator 1 WILL will-delay-interval 5 will content-type text/x",
        )
        .unwrap();
        let message = all.apply(Message::new("t", "x"));
        let pair = |k: &str, v: &str| (k.to_string(), v.to_string());
        assert_eq!(message.user_properties, [pair("k", "v"), pair("k", "w")]);
        assert_eq!(message.content_type.as_deref(), Some("text/plain"));
        assert_eq!(message.expiry_seconds, Some(60));
        let extra = ExtraProperties {
            payload_format_indicator: Some(1),
            response_topic: Some("r/t".into()),
            correlation_data: Some("id".into()),
        };
        assert_eq!(message.extra.as_deref(), Some(&extra));
        let will = all.apply_to_will(Message::new("w", ""));
        assert_eq!(will.content_type.as_deref(), Some("text/x"));
        assert_eq!((will.extra, all.will_delay_seconds()), (None, Some(5)));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name_with_what_to_do() {
        for (text, message, hint) in [
            (
                "connect user-property k v",
                "`-D connect user-property` is not sent",
                "user-property",
            ),
            (
                "CONNECT session-expiry-interval 5",
                "`-D connect session-expiry-interval` is not sent",
                "`-x SECONDS`",
            ),
            (
                "publish topic-alias 3",
                "`-D publish topic-alias` is not sent",
                "whole topic",
            ),
            (
                "content-type a b",
                "`-D content-type` names no MQTT command",
                "-D publish",
            ),
            (
                "publish user-property k",
                "`-D publish user-property` takes 2 value(s)",
                "content-type",
            ),
            (
                "publish content-type a b",
                "`-D publish content-type` takes 1 value(s)",
                "content-type",
            ),
            (
                "publish message-expiry-interval soon",
                "`-D publish message-expiry-interval` is `soon`, not a number of seconds up to 604800",
                "",
            ),
            (
                "will payload-format-indicator 2",
                "`-D will payload-format-indicator` is `2`, not 0 (bytes) or 1 (UTF-8 text)",
                "",
            ),
            (
                "publish response-topic a/#",
                "`-D publish response-topic` is `a/#`, not a topic that the broker takes",
                "",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(error.hint().unwrap_or_default().contains(hint), "{text}");
        }
        let words = ["publish", "content-type", "text/plain"].map(str::to_owned);
        let error = Properties::parse(&words, Publishes::No).unwrap_err();
        assert_eq!(error.to_string(), "`-D publish content-type` is not sent");
    }
}
