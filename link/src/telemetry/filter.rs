//! Log filters, with the misspellings that the filter language itself would accept in silence.

use tracing_subscriber::EnvFilter;

use crate::config::nearest;
use crate::error::Hint;

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
        Some("write a level such as `info`, or pairs such as `info,link::mqtt=debug`".into())
    }
}

/// Parses a filter. A bare word that is no level would select a target of that name at every level
/// (`inof` would silence everything else), so it is refused.
pub(super) fn parse(filter: &str) -> Result<EnvFilter, InvalidFilter> {
    let refuse = |reason: String| InvalidFilter {
        filter: filter.to_owned(),
        reason,
    };
    for directive in filter.split(',').map(str::trim) {
        if directive.contains(['=', '[']) || directive.is_empty() {
            continue;
        }
        let lower = directive.to_ascii_lowercase();
        if !LEVELS.contains(&lower.as_str()) {
            let suggestion = nearest(&lower, LEVELS)
                .map(|level| format!(" (did you mean `{level}`?)"))
                .unwrap_or_default();
            return Err(refuse(format!("`{directive}` is not a level{suggestion}")));
        }
    }
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| refuse(error.to_string()))
}

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

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
        assert!(parse("link=loud").is_err());
    }
}
