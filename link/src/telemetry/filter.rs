//! Log filters, with the misspellings that the filter language itself would accept.

use tracing_subscriber::EnvFilter;

use crate::error::Hint;
use crate::spelling::nearest;

/// A log filter that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log filter `{filter}` is not understood: {reason}")]
pub struct InvalidFilter {
    filter: String,
    reason: String,
}

// === impl InvalidFilter ===

impl Hint for InvalidFilter {
    fn hint(&self) -> Option<String> {
        let levels = LEVELS.map(|level| format!("`{level}`")).join(", ");
        Some(format!(
            "write a level ({levels}), with TARGET=LEVEL behind it where a target is to log differently: `info,link::mqtt=debug`"
        ))
    }
}

/// Parses a filter: directives separated by commas, each a level or `TARGET=LEVEL`.
///
/// The filter language takes a bare word that is no level for a target of that name at every level (`inof` would
/// silence everything else), so it is refused here, and so is a word that is no level behind `=`.
pub(super) fn parse(filter: &str) -> Result<EnvFilter, InvalidFilter> {
    let refuse = |reason: String| InvalidFilter {
        filter: filter.to_owned(),
        reason,
    };
    for directive in filter.split(',').map(str::trim) {
        // What selects spans and fields, in brackets, is left to the library.
        if directive.is_empty() || directive.contains(['[', ']', '{', '}']) {
            continue;
        }
        let level = directive
            .split_once('=')
            .map_or(directive, |(_, level)| level.trim());
        let lower = level.to_ascii_lowercase();
        if !LEVELS.contains(&lower.as_str()) {
            let suggestion = nearest(&lower, &LEVELS)
                .map(|level| format!(" (did you mean `{level}`?)"))
                .unwrap_or_default();
            return Err(refuse(format!("`{level}` is not a level{suggestion}")));
        }
    }
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| refuse(error.to_string()))
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_understood() {
        for filter in [
            "info",
            "WARN",
            "info,link::mqtt=debug",
            "off",
            "[span]=trace",
            "",
        ] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn misspelt_level_is_refused_with_the_nearest() {
        let error = parse("inof").unwrap_err();
        assert_eq!(
            error.to_string(),
            "log filter `inof` is not understood: `inof` is not a level (did you mean `info`?)"
        );
        assert!(error.hint().unwrap().contains("link::mqtt=debug"));
    }

    #[test]
    fn word_that_is_no_level_is_refused_with_the_levels_and_the_form_of_a_directive() {
        for (filter, word) in [("loud", "loud"), ("info,link=loud", "loud"), ("link=", "")] {
            let error = parse(filter).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("log filter `{filter}` is not understood: `{word}` is not a level")
            );
            let hint = error.hint().unwrap();
            assert!(
                hint.contains("`error`, `warn`, `info`, `debug`, `trace`")
                    && hint.contains("TARGET=LEVEL"),
                "{hint}"
            );
        }
    }
}
