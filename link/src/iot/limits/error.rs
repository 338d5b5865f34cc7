//! What IoT Core would refuse, with the measured value beside the limit.

use crate::error::Hint;

/// Something IoT Core would refuse, with the measured value and the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A payload is too big.
    #[error("payload has {bytes} bytes, the limit is {limit}")]
    Payload {
        /// Measured.
        bytes: usize,
        /// Allowed.
        limit: usize,
    },
    /// A packet is too big although its payload is not: topic and properties take the rest.
    #[error("packet has {bytes} bytes, the limit is {limit}")]
    Packet {
        /// Measured.
        bytes: usize,
        /// Allowed.
        limit: usize,
    },
    /// A name or value of a user property, or the content type, is too long to be encoded.
    #[error("{what} `{}` has {bytes} bytes, the limit is {limit}", clipped(.name))]
    Property {
        /// `name of user property`, `value of user property` or `content type`.
        what: &'static str,
        /// The property's name; never its value.
        name: String,
        /// Measured.
        bytes: usize,
        /// Allowed.
        limit: usize,
    },
    /// A topic, a filter, a name or value of a user property, or the content type holds a character that brokers answer
    /// with a disconnect.
    #[error("{what} `{}` holds the character U+{character:04X}, which MQTT does not carry", clipped(.name))]
    Character {
        /// `topic`, `filter`, `name of user property`, `value of user property` or `content type`.
        what: &'static str,
        /// The topic or filter, or the property's name; never its value.
        name: String,
        /// The code point.
        character: u32,
    },
    /// A topic or filter is too long.
    #[error("{what} `{}` has {bytes} bytes, the limit is {limit}", shorten(.text))]
    TooLong {
        /// `topic`, `filter` or `client id`.
        what: &'static str,
        /// The text.
        text: String,
        /// Measured.
        bytes: usize,
        /// Allowed.
        limit: usize,
    },
    /// A topic or filter has too many levels.
    #[error("{what} `{}` has {slashes} slashes, the limit is {limit}", shorten(.text))]
    Slashes {
        /// `topic` or `filter`.
        what: &'static str,
        /// The text.
        text: String,
        /// Measured.
        slashes: usize,
        /// Allowed.
        limit: usize,
    },
    /// A text is not what MQTT or IoT Core lets stand there.
    #[error("{what} `{}` {problem}", shorten(.text))]
    Malformed {
        /// `topic`, `filter` or `client id`.
        what: &'static str,
        /// The text.
        text: String,
        /// Which rule it breaks.
        problem: &'static str,
    },
    /// The NAME of `$share/NAME/` is too long.
    #[error("share name `{}` has {characters} characters, the limit is {limit}", shorten(.name))]
    ShareName {
        /// The name.
        name: String,
        /// Measured.
        characters: usize,
        /// Allowed.
        limit: usize,
    },
    /// One connection holds too many subscriptions.
    #[error("connection has {subscriptions} subscriptions, the limit is {limit}")]
    Subscriptions {
        /// Measured.
        subscriptions: usize,
        /// Allowed.
        limit: usize,
    },
}

// === impl LimitError ===

impl Hint for LimitError {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Payload { .. } => "split the content over several messages",
            Self::Packet { .. } | Self::Property { .. } => {
                "shorten the user properties, such as labels and annotations"
            }
            Self::Character { .. } => "take the control character out of the text",
            Self::TooLong {
                what: "client id", ..
            } => "use a shorter client id",
            Self::TooLong { .. } => "use shorter words or names in the topic",
            Self::Slashes { .. } => {
                "use fewer levels (`$share/NAME/` and `$aws/rules/RULE/` are not counted)"
            }
            Self::Malformed { what: "topic", .. } => "name one topic without `+` or `#`",
            Self::Malformed {
                what: "client id", ..
            } => "set a client id of 1 to 128 bytes that does not begin with `$`",
            Self::Malformed { .. } => {
                "let `+` stand for one whole level and `#` for the last levels, as in `a/+/b/#`"
            }
            Self::ShareName { .. } => "use a shorter NAME in `$share/NAME/`",
            Self::Subscriptions { .. } => {
                "cover several topics with one wildcard filter, or use more connections"
            }
        };
        Some(text.into())
    }
}

// A hostile or mistaken text should not fill the screen; its size is printed beside it.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

// The same for a text that may hold anything.
fn clipped(text: &str) -> String {
    shorten(text).escape_debug().to_string()
}

// Long enough for every topic of ours with a 36-character consumer id (75 bytes, docs/IOT-CORE.md §1.7).
const SHOWN_CHARACTERS: usize = 96;
