//! The name of a work's object in a cluster: its id where Kubernetes takes it, a hash of it otherwise.

use super::{WorkId, sha256_hex};

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
