//! What an object was like when its work was reconciled, short enough to be kept: an agent that starts again compares
//! it with what a list shows, and reconciles only where something differs.

use std::fmt;

/// Of one object. An applier makes it, and nothing else compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The version of the object; `None` when there was none.
    pub version: Option<String>,
    /// Of what the work says about the object. It stays when others change what the work leaves to them.
    pub applied_digest: Option<String>,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// The same for a work that cares about all of the object, such as its status.
    #[must_use]
    pub fn exact(self) -> Self {
        Self {
            applied_digest: None,
            ..self
        }
    }

    /// Reads what was written.
    pub fn read(text: &str) -> Self {
        let (version, applied_digest) = match text.split_once('/') {
            Some((version, applied_digest)) => (version, Some(applied_digest.to_owned())),
            None => (text, None),
        };
        Self {
            version: (version != ABSENT).then(|| version.to_owned()),
            applied_digest,
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version.as_deref().unwrap_or(ABSENT))?;
        match &self.applied_digest {
            Some(applied_digest) => write!(f, "/{applied_digest}"),
            None => Ok(()),
        }
    }
}

const ABSENT: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["12", "12/abc", "-"] {
            assert_eq!(Fingerprint::read(text).to_string(), text);
        }
        assert_eq!(Fingerprint::read("12/abc").exact().to_string(), "12");
        assert_eq!(Fingerprint::read("-").version, None);
    }
}
