//! Which KMS key a resource is encrypted with: the same key has several names.

use serde_json::Value;

use crate::aws::secrets::DEFAULT_KEY;

/// Whether two names (id, ARN, alias or ARN of an alias) are spelled for the same key. An alias and an id are never
/// taken for the same: that only KMS knows.
pub(super) fn same(one: &str, other: &str) -> bool {
    bare(one) == bare(other)
}

/// The key of a secret as an attribute: null for AWS's own, and the wanted name if it is that key by another name.
pub(super) fn observed(live: Option<&str>, wanted: Option<&str>) -> Value {
    match (live, wanted) {
        (None, _) => Value::Null,
        (Some(live), _) if same(live, DEFAULT_KEY) => Value::Null,
        (Some(live), Some(wanted)) if same(live, wanted) => wanted.into(),
        (Some(live), _) => live.into(),
    }
}

/// Without partition, region and account: `alias/<name>` or the key's id.
pub(super) fn bare(key: &str) -> &str {
    let tail = key.rsplit(':').next().unwrap_or(key);
    tail.strip_prefix("key/").unwrap_or(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_and_its_arn_are_the_same_key() {
        let id = "0e1c7e70-2f0c-4f7e-9f0c-5d3b6d2f1a11";
        let arn = format!("arn:aws:kms:eu-west-1:111122223333:key/{id}");
        assert!(same(id, &arn));
        assert!(same(
            "alias/a",
            "arn:aws:kms:eu-west-1:111122223333:alias/a"
        ));
        assert!(!same("alias/a", id));
    }

    #[test]
    fn the_key_of_aws_is_no_key_and_an_arn_is_its_id() {
        assert_eq!(observed(None, None), Value::Null);
        assert_eq!(observed(Some(DEFAULT_KEY), None), Value::Null);
        assert_eq!(observed(Some("k-1"), None), "k-1");
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/k-1";
        assert_eq!(observed(Some(arn), Some("k-1")), "k-1");
    }
}
