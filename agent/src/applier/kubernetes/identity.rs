//! Who the agent is in the cluster, and how its AppliedManifestWorks are called.

use std::fmt;

use crate::digest::sha256_hex;

/// The identity under which the agent holds objects: 64 lower-case hex digits. It must not change over the life of
/// the objects; unlike the Go agent's it does not depend on the broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentId {
    hash: String,
    given_as_hash: bool,
}

// === impl AgentId ===

impl AgentId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.hash
    }

    /// Whether a Go agent may alternate with this one: only who wants that gives the identity as a hash.
    pub(super) fn is_shared_with_go(&self) -> bool {
        self.given_as_hash
    }

    /// The name of the AppliedManifestWork of the work with this object name.
    pub(super) fn applied_name(&self, work: &str) -> String {
        fit(format!("{}-{work}", self.hash))
    }
}

impl From<&str> for AgentId {
    /// A hash is taken as it is, so that the identity of a Go agent can be given; other text is hashed, as a Go agent
    /// hashes the `HOST:PORT` of its broker.
    fn from(text: &str) -> Self {
        let is_hash = text.len() == 64
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
        let hash = if is_hash {
            text.into()
        } else {
            sha256_hex(text.as_bytes())
        };
        Self {
            hash,
            given_as_hash: is_hash,
        }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hash)
    }
}

/// The name of the successor of an AppliedManifestWork that cannot be kept.
pub(super) fn successor_name(name: &str, uid: &str) -> String {
    let first = uid.split('-').next().unwrap_or(uid);
    fit(format!("{name}-{first}"))
}

fn fit(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let hash = &sha256_hex(name.as_bytes())[..40];
    let kept = name[..LONGEST - 41].trim_end_matches(['.', '-']);
    format!("{kept}-{hash}")
}

// What the API server allows.
const LONGEST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_identity_and_other_text_is_hashed() {
        let hash = sha256_hex(b"mqtt.example.com:8883");
        for text in [hash.as_str(), "mqtt.example.com:8883"] {
            let id: AgentId = text.into();
            assert_eq!(id.as_str(), hash);
            assert_eq!(id.is_shared_with_go(), text == hash);
        }
    }

    #[test]
    fn names_fit_and_stay_apart() {
        let id: AgentId = "agent".into();
        assert_eq!(id.applied_name("a"), format!("{id}-a"));
        let long = "a".repeat(187) + "." + &"b".repeat(65);
        let other = "a".repeat(187) + "." + &"c".repeat(65);
        assert!(id.applied_name(&long).len() <= LONGEST);
        assert_ne!(id.applied_name(&long), id.applied_name(&other));
        assert_ne!(successor_name("a", "12-34"), successor_name("a", "13-34"));
    }
}
