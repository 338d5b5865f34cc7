//! What a file holds where PEM of the right kind was expected: a class, never the content itself.

use std::fmt;

/// The class of what a file holds where PEM of the right kind was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Zero bytes.
    Empty,
    /// Nothing but white space.
    Blank,
    /// Starts as a JSON object or array.
    Json,
    /// A JSON string, that is PEM or something else in quotes.
    JsonString,
    /// An ASN.1 sequence in binary.
    Der,
    /// Bytes that are not text.
    Binary,
    /// PEM whose line breaks are the two characters `\n`.
    EscapedLineBreaks,
    /// PEM whose line breaks are gone.
    OneLine,
    /// PEM with white space in front of its lines.
    Indented,
    /// PEM behind a byte order mark.
    ByteOrderMark,
    /// PEM encoded once more in base64.
    Base64OfPem,
    /// A section of this kind that begins and does not end.
    Truncated(&'static str),
    /// A section of this kind whose body is not base64 or not what its label says.
    Damaged(&'static str),
    /// Whole sections, the first of this kind, none of the wanted one.
    Pem(&'static str),
    /// Text that has no PEM in it.
    Text,
}

// === impl Class ===

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty file"),
            Self::Blank => f.write_str("nothing but white space"),
            Self::Json => f.write_str("JSON object"),
            Self::JsonString => f.write_str("JSON string"),
            Self::Der => f.write_str("binary, looks like DER"),
            Self::Binary => f.write_str("binary, not text"),
            Self::EscapedLineBreaks => {
                f.write_str("PEM whose line breaks are the two characters `\\n`")
            }
            Self::OneLine => f.write_str("PEM whose line breaks are gone"),
            Self::Indented => f.write_str("PEM with white space before its lines"),
            Self::ByteOrderMark => f.write_str("PEM behind a byte order mark"),
            Self::Base64OfPem => f.write_str("base64 of a PEM file"),
            Self::Truncated(label) => write!(f, "truncated PEM: BEGIN {label} without END"),
            Self::Damaged(label) => write!(f, "PEM of kind {label} with a damaged body"),
            Self::Pem(label) => write!(f, "PEM of kind {label}"),
            Self::Text => f.write_str("not PEM: starts with text"),
        }
    }
}

impl Class {
    /// Classifies bytes in which no usable section was found.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        let (text, marked) = match bytes.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => (rest, true),
            None => (bytes, false),
        };
        let Ok(text) = std::str::from_utf8(text) else {
            // SEQUENCE with a long-form length: what every certificate and key starts with.
            let der = matches!(bytes, [0x30, 0x81..=0x84, ..]);
            return if der { Self::Der } else { Self::Binary };
        };
        let trimmed = text.trim_start();
        match trimmed.chars().next() {
            None => Self::Blank,
            Some('{' | '[') => Self::Json,
            Some('"') => Self::JsonString,
            _ if trimmed.starts_with(BASE64_OF_BEGIN) => Self::Base64OfPem,
            _ if text.contains('\0') => Self::Binary,
            _ => match trimmed.find(BEGIN) {
                None => Self::Text,
                Some(_) if marked => Self::ByteOrderMark,
                Some(at) => Self::of_pem(text, &trimmed[at..]),
            },
        }
    }

    fn of_pem(text: &str, from_begin: &str) -> Self {
        let label = from_begin[BEGIN.len()..]
            .split("-----")
            .next()
            .map_or(OTHER_LABEL, known_label);
        if from_begin.contains("\\n") {
            return Self::EscapedLineBreaks;
        }
        let Some(end) = from_begin.find("-----END ") else {
            return Self::Truncated(label);
        };
        if !from_begin[..end].contains(['\n', '\r']) {
            return Self::OneLine;
        }
        let indented =
            |line: &str| line.starts_with([' ', '\t']) && line.trim_start().starts_with("-----");
        if text.lines().any(indented) {
            return Self::Indented;
        }
        // Whatever the parser said, a BEGIN without its END further down is the likeliest reason.
        let (begins, ends) = (count(text, BEGIN), count(text, "-----END "));
        if begins > ends {
            let last = text.rfind(BEGIN).map(|at| &text[at + BEGIN.len()..]);
            return Self::Truncated(
                last.and_then(|l| l.split("-----").next())
                    .map_or(label, known_label),
            );
        }
        Self::Pem(label)
    }

    /// Whether a hint about the shape of the secret (JSON keys, `jmesPath`) is the likely help.
    pub(super) fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonString)
    }
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// The label as one of a closed list, so that a mangled BEGIN line cannot carry content into a message.
fn known_label(label: &str) -> &'static str {
    LABELS
        .iter()
        .copied()
        .find(|known| *known == label)
        .unwrap_or(OTHER_LABEL)
}

const BEGIN: &str = "-----BEGIN ";

// base64("-----BEGIN"), the first 12 of its characters.
const BASE64_OF_BEGIN: &str = "LS0tLS1CRUdJ";

const OTHER_LABEL: &str = "(unknown)";

const LABELS: &[&str] = &[
    "CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "DSA PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "EC PARAMETERS",
    "DH PARAMETERS",
    "X509 CRL",
    "PKCS7",
];
