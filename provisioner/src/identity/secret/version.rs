//! One version of an identity's secret, and what its content says it is.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::identity::key::{PrivateKey, PublicKey};

/// One version. `Debug` hides the key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) created: Option<Timestamp>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<PrivateKey>,
    pub(crate) ca: Option<String>,
    pub(crate) csr: Option<String>,
}

// === impl Version ===

impl Version {
    // A value that is no object of texts holds nothing of an identity.
    pub(super) fn read(id: &str, created: Option<Timestamp>, text: &str) -> Self {
        let mut parts: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let mut part = |name: &str| match parts.remove(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
            _ => None,
        };
        Self {
            id: id.to_owned(),
            created,
            certificate: part("certificate"),
            key: part("privateKey").map(PrivateKey::new),
            ca: part("caCert"),
            csr: part("csr"),
        }
    }

    /// Whether it is a key that waits for its certificate.
    pub(crate) fn waits(&self) -> bool {
        self.certificate.is_none() && self.key.is_some() && self.csr.is_some()
    }

    /// The public half of its key, if that can be read.
    pub(crate) fn public(&self) -> Option<PublicKey> {
        self.key.as_ref()?.public().ok()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("id", &self.id)
            .field("certificate", &self.certificate.is_some())
            .field("key", &self.key)
            .field("csr", &self.csr.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_version_is_its_content_says() {
        let waiting = Version::read("1", None, r#"{"privateKey":"k","csr":"c"}"#);
        assert!(waiting.waits());
        let in_use = r#"{"certificate":"x","privateKey":"k","caCert":"y"}"#;
        assert!(!Version::read("2", None, in_use).waits());
        for nothing in ["", "{}", "[]", "{oops", r#"{"privateKey":1,"csr":""}"#] {
            let version = Version::read("3", None, nothing);
            assert!(!version.waits() && version.certificate.is_none());
        }
    }

    #[test]
    fn debug_output_of_a_version_has_no_value() {
        let version = Version::read("1", None, r#"{"privateKey":"canary","csr":"canary"}"#);
        assert!(!format!("{version:?}").contains("canary"));
    }
}
