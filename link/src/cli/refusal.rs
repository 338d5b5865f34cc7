//! What clap says of a wrong command line, without what may be a secret in it.
//!
//! It quotes what it refuses. A password gets there in a URL before an `@`, or as a word of its own: the rest of one that
//! holds a blank and stood in no quotes, or the value of an option that was taken for another one's value.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The text of an error.
pub(super) fn text(mut error: clap::Error) -> String {
    let mut hidden = Vec::new();
    for part in [
        ContextKind::InvalidValue,
        ContextKind::InvalidArg,
        ContextKind::InvalidSubcommand,
    ] {
        let Some(ContextValue::String(value)) = error.get(part) else {
            continue;
        };
        let value = value.clone();
        if may_be_secret(&error, part, &value) {
            error.insert(part, ContextValue::String(HIDDEN.into()));
            // In place of what is there, which may quote the value too.
            let note = ContextValue::StyledStrs(vec![StyledStr::from(NOTE)]);
            error.insert(ContextKind::Suggested, note);
            hidden.push(value);
        }
    }
    let text = error.render().to_string();
    // What read the value may quote it in its own words. A short word may be part of others.
    let quoted = hidden.iter().filter(|value| value.contains('@'));
    quoted.fold(text, |text, value| text.replace(value.as_str(), HIDDEN))
}

fn may_be_secret(error: &clap::Error, part: ContextKind, value: &str) -> bool {
    // The only suggestion beside a stray word is that it is the name of a command.
    let is_command = error.get(ContextKind::Suggested).is_some();
    value.contains('@')
        || match error.kind() {
            ErrorKind::UnknownArgument => !value.starts_with('-') && !is_command,
            ErrorKind::TooManyValues => part == ContextKind::InvalidValue,
            ErrorKind::InvalidSubcommand => !value.chars().all(is_of_name),
            _ => false,
        }
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

const HIDDEN: &str = "…";
const NOTE: &str = "what is left out may be a secret; put a value that holds blanks in quotes";
