//! The name of the source that published a bundle.

use std::fmt;

use link::id::SourceId;

/// The source of a bundle, as Go sources name themselves: 1–253 visible ASCII characters other than quotes, backslash and
/// comma. The bridge's own is its [`SourceId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

/// Why a name of a source was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source `{}` {problem}", .name.escape_debug())]
pub struct InvalidSource {
    name: String,
    problem: &'static str,
}

// === impl SourceName ===

impl SourceName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`InvalidSource`] says which rule the name breaks.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidSource> {
        let name = name.into();
        let problem = if name.is_empty() {
            "is empty"
        } else if name.len() > LONGEST {
            "is longer than 253 characters"
        } else if !name.bytes().all(allowed) {
            "may hold only visible ASCII characters other than quotes, `\\` and `,`"
        } else {
            return Ok(Self(name));
        };
        // What is shown of it stays short.
        let name = name.chars().take(LONGEST).collect();
        Err(InvalidSource { name, problem })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// That of a bridge that was told no other: what is read of rows that are nobody's yet.
impl Default for SourceName {
    fn default() -> Self {
        Self("maestro".to_owned())
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for SourceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The grammar of the bridge's own source is a part of this one.
impl From<&SourceId> for SourceName {
    fn from(source: &SourceId) -> Self {
        Self(source.as_str().to_owned())
    }
}

impl std::str::FromStr for SourceName {
    type Err = InvalidSource;
    fn from_str(name: &str) -> Result<Self, InvalidSource> {
        Self::new(name)
    }
}

const fn allowed(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b',')
}

const LONGEST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_up_to_the_limit_and_hold_nothing_that_a_search_or_a_log_would_have_to_escape() {
        for name in ["mw-client-example", "rosa/Region_1:a@b", &"x".repeat(253)] {
            assert_eq!(SourceName::new(name).unwrap().as_str(), name);
        }
        for (name, part) in [
            ("", "is empty"),
            (&*"x".repeat(254), "253"),
            ("a b", "visible"),
            ("a'b", "visible"),
            ("a\"b", "visible"),
            ("a\\b", "visible"),
            ("a,b", "visible"),
            ("ä", "visible"),
            ("a\n", "visible"),
        ] {
            let error = SourceName::new(name).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
        let own = SourceId::new("maestro").unwrap();
        assert_eq!(SourceName::from(&own), SourceName::default());
    }
}
