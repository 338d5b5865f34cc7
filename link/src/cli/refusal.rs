//! What clap says of a wrong command line, without what may be a secret in it.
//!
//! It quotes what it refuses. A password gets there in a URL before an `@`, or as a word of its own: the rest of one that
//! holds a blank and stood in no quotes, or the value of an option that was taken for another one's value.
//!
//! It names an option also where the value stands in the environment, which nobody finds on the command line: then the
//! variable is named too.

use std::ffi::{OsStr, OsString};

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::printable::printable_lines;

/// The text of an error of this command; `variable` reads the environment.
pub(super) fn text(
    mut error: clap::Error,
    command: &Command,
    variable: impl Fn(&OsStr) -> Option<OsString>,
) -> String {
    // clap completes a verb when it is called, and an option that is not complete cannot be written out.
    let mut complete = command.clone();
    complete.build();
    let from = variable_of(&error, &complete, &variable);
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
    let text = quoted.fold(text, |text, value| text.replace(value.as_str(), HIDDEN));
    // What was typed or stands in the environment is quoted as it is.
    let text = printable_lines(&text);
    match from {
        Some(from) => format!("{text}\n{from}\n"),
        None => text,
    }
}

// Where the value that is refused came from, if a variable holds the very same.
fn variable_of(
    error: &clap::Error,
    command: &Command,
    variable: &impl Fn(&OsStr) -> Option<OsString>,
) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let Some(ContextValue::String(refused)) = error.get(ContextKind::InvalidValue) else {
        return None;
    };
    let named = command
        .get_arguments()
        .filter(|argument| argument.to_string() == *option)
        .filter_map(|argument| argument.get_env())
        .find(|name| variable(name).is_some_and(|value| value.to_string_lossy() == *refused));
    if let Some(name) = named {
        let name = name.to_string_lossy();
        return Some(match refused.is_empty() {
            true => format!(
                "environment variable `{name}` is set and empty: unset it, or give it a value"
            ),
            false => format!("the value is that of environment variable `{name}`"),
        });
    }
    let mut verbs = command.get_subcommands();
    verbs.find_map(|verb| variable_of(error, verb, variable))
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

#[cfg(test)]
mod tests {
    use clap::{Arg, value_parser};

    use super::*;

    #[test]
    fn a_value_of_the_environment_that_is_refused_is_told_with_its_variable() {
        let count = Arg::new("count")
            .long("count")
            .value_name("N")
            .env("AGENT_COUNT")
            .value_parser(value_parser!(u32));
        let other = Command::new("other")
            .arg(Arg::new("file"))
            .arg(Arg::new("b").short('b'));
        let verb = Command::new("agent")
            .subcommand(other)
            .subcommand(Command::new("run").arg(count));
        let told = |given: &str, set: Option<&str>| {
            let mut verb = verb.clone();
            let error = verb
                .try_get_matches_from_mut(["agent", "run", "--count", given])
                .unwrap_err();
            text(error, &verb, |name| {
                set.filter(|_| name == "AGENT_COUNT").map(OsString::from)
            })
        };
        let empty = told("", Some(""));
        assert!(
            empty.contains("`AGENT_COUNT` is set and empty: unset it"),
            "{empty}"
        );
        let many = told("many", Some("many"));
        assert!(
            many.ends_with("the value is that of environment variable `AGENT_COUNT`\n"),
            "{many}"
        );
        // Given on the command line, with another value in the environment or none.
        for set in [None, Some("few")] {
            let line = told("many", set);
            assert!(!line.contains("AGENT_COUNT"), "{line}");
        }
        // Nor is what a terminal acts on repeated to it.
        let odd = told("a\u{1b}[2Jb", None);
        assert!(odd.contains("a\u{fffd}[2Jb"), "{odd:?}");
    }
}
