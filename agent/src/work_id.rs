//! The id of a work, and the name of its object in a cluster: the id where Kubernetes takes it, a hash of it otherwise.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;

/// A bundle's id as the source chose it: any text, usually a UUID. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct WorkId(Arc<str>);

// === impl WorkId ===

impl WorkId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for WorkId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for WorkId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<WorkId> for String {
    fn from(id: WorkId) -> Self {
        id.0.as_ref().into()
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the ManifestWork of `id`, and what an AppliedManifestWork calls the work.
pub(crate) fn object_name(id: &WorkId) -> String {
    let id = id.as_str();
    if is_name(id) && !is_hashed(id) {
        return id.into();
    }
    format!("{HASHED}{}", &sha256_hex(id.as_bytes())[..HASHED_DIGITS])
}

// RFC 1123 subdomain: labels of lower-case letters, digits and `-`, none of which starts or ends with `-`.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= LONGEST
        && text.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(inner)
        })
}

// Such an id could be made to meet the name of another.
fn is_hashed(name: &str) -> bool {
    name.strip_prefix(HASHED).is_some_and(|digits| {
        digits.len() == HASHED_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

// What the API server allows.
const LONGEST: usize = 253;
const HASHED: &str = "w-";
// 160 bits: nobody makes two ids with one name.
const HASHED_DIGITS: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_are_no_names_are_hashed() {
        for name in ["55c61e54-a3f6-563d-9fec-b1fe297bdfdb", "a.b-c.d", "0"] {
            assert_eq!(object_name(&name.into()), name);
        }
        let long = "a".repeat(254);
        for id in ["", "A", "a..b", "-a", "a-", "a_b", "ü", long.as_str()] {
            let name = object_name(&id.into());
            assert!(name.len() == 42 && name.starts_with("w-"), "{id}: {name}");
        }
    }

    proptest! {
        #[test]
        fn every_id_has_one_name_that_kubernetes_takes(a in ".{0,300}", b in "[a-z0-9.-]{0,300}") {
            let (a, b) = (WorkId::from(a), WorkId::from(b));
            for id in [&a, &b] {
                prop_assert!(is_name(&object_name(id)));
            }
            prop_assert_eq!(a == b, object_name(&a) == object_name(&b));
            let disguised = WorkId::from(object_name(&"Not A Name".into()));
            prop_assert_ne!(object_name(&disguised), disguised.as_str());
        }
    }
}
