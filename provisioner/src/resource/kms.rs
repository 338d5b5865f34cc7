//! Which KMS key a resource is encrypted with: the same key has several names.

/// Whether two names (id, ARN, alias or ARN of an alias) are spelled for the same key. An alias and an id are never
/// taken for the same: that only KMS knows.
pub(super) fn same(one: &str, other: &str) -> bool {
    bare(one) == bare(other)
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
}
