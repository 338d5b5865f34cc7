//! Going on where an earlier process of this agent was: the watches are given the versions in which a work observed its
//! objects, and their first lists say what has changed since. So a start costs one list for each kind, whatever the
//! number of works.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use link::bundle::manifest::ObjectRef;
use serde_json::json;

use super::Inner;
use super::server::MANAGER;
use crate::applier::Fingerprint;
use crate::digest::sha256_hex;
use crate::work_id::WorkId;

impl Inner {
    /// See [`crate::applier::Applier::resume`].
    pub(super) fn resume(
        &self,
        owner: &WorkId,
        claims: usize,
        seen: &[(ObjectRef, Fingerprint)],
    ) -> bool {
        let watched = |(object, _): &(ObjectRef, Fingerprint)| {
            let resource = self.discovery.known(object)?;
            resource.watchable.then_some(resource)
        };
        let resources: Option<Vec<_>> = seen.iter().map(watched).collect();
        let Some(resources) = resources else {
            return false;
        };
        let keys: HashSet<String> = seen.iter().map(|(object, _)| self.key(object)).collect();
        if !self.claims().is_settled(owner, claims, &keys) {
            return false;
        }
        for (resource, (object, fingerprint)) in resources.iter().zip(seen) {
            self.index.resume(resource, object, owner, fingerprint);
        }
        true
    }
}

/// What tells whether all that the agent applied by default is as it left it. Whoever changes such a field takes it
/// out of the agent's entry in `managedFields`, and another who applies under the same name changes the time of the
/// entry or the generation. Nothing for kinds that do not count generations.
pub(super) fn applied_digest(meta: &ObjectMeta) -> Option<String> {
    let generation = meta.generation.filter(|generation| *generation > 0)?;
    let entries = meta.managed_fields.iter().flatten();
    let mut ours = entries.filter(|entry| {
        entry.manager.as_deref() == Some(MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().is_none_or(str::is_empty)
    });
    let (Some(entry), None) = (ours.next(), ours.next()) else {
        return None;
    };
    if meta.deletion_timestamp.is_some() {
        return None;
    }
    let state = json!([
        meta.uid,
        generation,
        entry.api_version,
        entry.time,
        entry.fields_v1
    ]);
    let mut applied_digest = sha256_hex(state.to_string().as_bytes());
    applied_digest.truncate(DIGITS);
    Some(applied_digest)
}

const DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(generation: i64, entries: &serde_json::Value) -> ObjectMeta {
        let meta = json!({"uid": "u", "generation": generation, "managedFields": entries});
        serde_json::from_value(meta).unwrap()
    }

    #[test]
    fn a_digest_tells_changes_of_what_was_applied_and_of_nothing_else() {
        let ours = json!({"manager": MANAGER, "operation": "Apply", "apiVersion": "apps/v1",
            "time": "2026-08-01T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:a": {}}}});
        let status = json!({"manager": "controller", "operation": "Update", "subresource": "status",
            "time": "2026-08-01T10:00:09Z"});
        let before = applied_digest(&meta(1, &json!([ours]))).unwrap();
        assert_eq!(
            applied_digest(&meta(1, &json!([status, ours]))).as_ref(),
            Some(&before)
        );
        let mut less = ours.clone();
        less["fieldsV1"] = json!({});
        let mut later = ours.clone();
        later["time"] = json!("2026-08-01T10:00:01Z");
        for (generation, entry) in [(2, &ours), (1, &less), (1, &later)] {
            let after = applied_digest(&meta(generation, &json!([entry])));
            assert!(after.is_some() && after.as_ref() != Some(&before));
        }
        assert_eq!(applied_digest(&meta(0, &json!([ours]))), None);
        assert_eq!(applied_digest(&meta(1, &json!([status]))), None);
        let mut going = meta(1, &json!([ours]));
        going.deletion_timestamp = serde_json::from_value(json!("2026-08-01T10:00:00Z")).ok();
        assert_eq!(applied_digest(&going), None);
    }
}
