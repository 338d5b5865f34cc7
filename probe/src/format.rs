//! `-F`: mosquitto_sub's output format. `%` begins a part of the message, `@` a part of the time as strftime writes it,
//! `\` a character that is hard to type. Times are UTC.
//!
//! A width is the least that a part takes, filled with blanks on the left, with `-` on the right, with `0` with zeros;
//! what is longer is written whole, but for texts after whose width a `.` and a most width stand.

mod json;

use jiff::Zoned;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use link::error::Hint;

use self::json::{Payload, message_json};
use crate::received::Received;

/// A format that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFormat {
    pieces: Vec<Piece>,
    pretty: bool,
}

/// Why a format is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not a part of a message.
    #[error("`%{0}` in `-F` is not a part of a message")]
    Field(char),
    /// Not a part of the time.
    #[error("`@{0}` in `-F` is not a part of the time")]
    Time(char),
    /// Not an escaped character.
    #[error("`\\{0}` in `-F` is not a character")]
    Escape(char),
    /// It ends after `%`, `@` or `\`.
    #[error("`-F` ends in the middle of a `{0}` sequence")]
    Incomplete(char),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
    /// As strftime writes it.
    Time(String),
    Nanoseconds,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Field {
    what: char,
    zeros: bool,
    left: bool,
    width: usize,
    most: Option<usize>,
}

// === impl MessageFormat ===

impl MessageFormat {
    /// Reads a format; `pretty` spreads its JSON over lines.
    ///
    /// # Errors
    /// [`FormatError`] names the sequence.
    pub fn parse(text: &str, pretty: bool) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut characters = text.chars().peekable();
        let mut literal = String::new();
        while let Some(character) = characters.next() {
            let piece = match character {
                '\\' => {
                    let next = characters.next().ok_or(FormatError::Incomplete('\\'))?;
                    literal.push(escaped(next)?);
                    continue;
                }
                '@' => match characters.next().ok_or(FormatError::Incomplete('@'))? {
                    '@' => {
                        literal.push('@');
                        continue;
                    }
                    'N' => Piece::Nanoseconds,
                    next => time(next)?,
                },
                '%' => {
                    let field = field(&mut characters)?;
                    if field.what == '%' {
                        literal.push('%');
                        continue;
                    }
                    Piece::Field(field)
                }
                other => {
                    literal.push(other);
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces, pretty })
    }

    /// Whether it writes the payload as JSON that it must be (`%J`).
    pub fn wants_json(&self) -> bool {
        let is_json = |piece: &Piece| matches!(piece, Piece::Field(field) if field.what == 'J');
        self.pieces.iter().any(is_json)
    }

    /// Writes a message. `%J` writes nothing of a payload that is no JSON.
    pub fn render(&self, received: &Received<'_>) -> Vec<u8> {
        let at = received.at.to_zoned(TimeZone::UTC);
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Time(format) => out.extend(formatted(format, &at).bytes()),
                Piece::Nanoseconds => {
                    out.extend(format!("{:09}", at.subsec_nanosecond()).bytes());
                }
                Piece::Field(field) => self.field(*field, received, &at, &mut out),
            }
        }
        out
    }

    fn field(&self, field: Field, received: &Received<'_>, at: &Zoned, out: &mut Vec<u8>) {
        let message = received.message;
        let extra = message.extra.as_deref();
        let payload = &message.payload;
        let text = |text: Option<&str>| field.pad(text.unwrap_or_default().as_bytes());
        let number = |number: Option<u64>| match number {
            Some(number) => field.pad(number.to_string().as_bytes()),
            None => Field {
                zeros: false,
                ..field
            }
            .pad(b""),
        };
        let written = match field.what {
            'C' => text(message.content_type.as_deref()),
            'D' => extra
                .and_then(|extra| extra.correlation_data.as_ref())
                .map_or_else(Vec::new, |data| data.to_vec()),
            'E' => number(message.expiry_seconds.map(u64::from)),
            'F' => number(
                extra
                    .and_then(|it| it.payload_format_indicator)
                    .map(u64::from),
            ),
            'I' => text(Some(&formatted("%Y-%m-%dT%H:%M:%S%z", at))),
            'j' => message_json(received, Payload::Text, self.pretty),
            'J' => message_json(received, Payload::Json, self.pretty),
            'l' => number(Some(payload.len() as u64)),
            'm' => number(Some(received.packet_id.unwrap_or_default().into())),
            'P' => {
                let pairs = message.user_properties.iter();
                let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}:{value}")).collect();
                pairs.join(" ").into_bytes()
            }
            'p' => field.pad(payload),
            'q' => received.qos().to_string().into_bytes(),
            'R' => text(extra.and_then(|extra| extra.response_topic.as_deref())),
            'r' => u8::from(message.retain).to_string().into_bytes(),
            't' => text(Some(&message.topic)),
            'U' => format!(
                "{}.{:09}",
                at.timestamp().as_second(),
                at.subsec_nanosecond()
            )
            .into_bytes(),
            'x' => field.pad(hex(payload, false).as_bytes()),
            'X' => field.pad(hex(payload, true).as_bytes()),
            // `A` and `S`: this client asks for no topic aliases and numbers no subscriptions.
            _ => number(None),
        };
        out.extend(written);
    }
}

// === impl Field ===

impl Field {
    fn pad(self, bytes: &[u8]) -> Vec<u8> {
        let shown = match (self.most, std::str::from_utf8(bytes)) {
            (Some(most), Ok(text)) if CUT.contains(self.what) => {
                let end = text
                    .char_indices()
                    .nth(most)
                    .map_or(text.len(), |(at, _)| at);
                &bytes[..end]
            }
            _ => bytes,
        };
        let length = std::str::from_utf8(shown).map_or(shown.len(), |text| text.chars().count());
        let missing = self.width.saturating_sub(length);
        let filler = if self.zeros && !self.left && ZEROS.contains(self.what) {
            b'0'
        } else {
            b' '
        };
        let mut padded = vec![filler; if self.left { 0 } else { missing }];
        padded.extend_from_slice(shown);
        padded.extend(std::iter::repeat_n(
            b' ',
            if self.left { missing } else { 0 },
        ));
        padded
    }
}

// === impl FormatError ===

impl Hint for FormatError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Field(_) | Self::Incomplete('%') => format!(
                "write `%%` for a percent sign, or one of {}",
                FIELDS
                    .chars()
                    .map(|c| format!("%{c}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
            Self::Time(_) | Self::Incomplete('@') => {
                "write `@@` for an at sign, or a letter of strftime, as in `@Y-@m-@dT@H:@M:@S`"
                    .into()
            }
            Self::Escape(_) | Self::Incomplete(_) => {
                r"write `\\` for a backslash, or one of \0 \a \e \n \r \t \v".into()
            }
        })
    }
}

fn escaped(character: char) -> Result<char, FormatError> {
    Ok(match character {
        '\\' => '\\',
        '0' => '\0',
        'a' => '\u{7}',
        'e' => '\u{1b}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        other => return Err(FormatError::Escape(other)),
    })
}

fn time(letter: char) -> Result<Piece, FormatError> {
    // Those three are other texts in this library than in the C locale.
    let format = match letter {
        'c' => "%a %b %e %H:%M:%S %Y".into(),
        'x' => "%m/%d/%y".into(),
        'r' => "%I:%M:%S %p".into(),
        _ => format!("%{letter}"),
    };
    let epoch = jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match strtime::format(&format, &epoch) {
        Ok(_) if letter.is_ascii_alphabetic() => Ok(Piece::Time(format)),
        _ => Err(FormatError::Time(letter)),
    }
}

fn field(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Field, FormatError> {
    let mut field = Field::default();
    while let Some(flag) = characters.next_if(|c| matches!(c, '0' | '-')) {
        field.zeros |= flag == '0';
        field.left |= flag == '-';
    }
    if let Some(width) = digits(characters) {
        field.width = width;
    }
    if characters.next_if_eq(&'.').is_some() {
        field.most = Some(digits(characters).unwrap_or_default());
    }
    field.what = characters.next().ok_or(FormatError::Incomplete('%'))?;
    match field.what {
        '%' => Ok(field),
        what if FIELDS.contains(what) => Ok(field),
        what => Err(FormatError::Field(what)),
    }
}

fn digits(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number: Option<usize> = None;
    while let Some(digit) = characters.peek().and_then(|c| c.to_digit(10)) {
        characters.next();
        let next = number.unwrap_or_default() * 10 + digit as usize;
        number = Some(next.min(MOST_WIDTH));
    }
    number
}

// The formats are those of this module, or were tried when they were read.
fn formatted(format: &str, at: &Zoned) -> String {
    strtime::format(format, at).unwrap_or_default()
}

fn hex(bytes: &[u8], capitals: bool) -> String {
    let write = |byte: &u8| match capitals {
        true => format!("{byte:02X}"),
        false => format!("{byte:02x}"),
    };
    bytes.iter().map(write).collect()
}

const FIELDS: &str = "ACDEFIJjlmPpqRrStUxX";

// Those that a most width cuts, and those that zeros fill.
const CUT: &str = "CIRt";
const ZEROS: &str = "AEFlmSxX";

// A width of a whole payload is more than anybody reads.
const MOST_WIDTH: usize = 1_000_000;

#[cfg(test)]
mod tests;
