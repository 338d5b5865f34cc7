//! Taking over objects that were written by `PUT` or `kubectl apply` before: their fields belong to `Update`
//! entries in `managedFields`, and server-side apply never removes a field that another entry still holds. So the
//! field sets move into the `Apply` entry once; afterwards what is dropped from the manifest goes away.
//!
//! This is kubectl's `csaupgrade`, with its two rules about versions: only sets of one `apiVersion` can be united,
//! and entries of the old managers in other versions are dropped, which leaves their fields to nobody.

use serde_json::{Map, Value, json};

/// Moves the fields of the managers `from` to server-side apply by `to`; answers the new `managedFields`, or
/// `None` when nothing has to move. Entries of subresources stay, for they belong to controllers.
pub(crate) fn upgrade(managed_fields: &[Value], from: &[&str], to: &str) -> Option<Vec<Value>> {
    moved(managed_fields, to, |entry| {
        entry["operation"] == "Update"
            && entry["manager"]
                .as_str()
                .is_some_and(|manager| from.contains(&manager))
    })
}

/// The same for entries of whatever operation, but for those of subresources.
pub(crate) fn moved(
    managed_fields: &[Value],
    to: &str,
    moves: impl Fn(&Value) -> bool,
) -> Option<Vec<Value>> {
    let applies =
        |entry: &Value| entry["operation"] == "Apply" && is_main(entry) && entry["manager"] == to;
    let moves = |entry: &Value| is_main(entry) && !applies(entry) && moves(entry);

    let newest = managed_fields
        .iter()
        .filter(|entry| moves(entry))
        .max_by_key(|entry| entry["time"].as_str().unwrap_or_default())?;
    let mut target = match managed_fields.iter().find(|entry| applies(entry)) {
        Some(entry) => entry.clone(),
        None => adopted(newest, to),
    };
    for entry in managed_fields {
        if moves(entry) && entry["apiVersion"] == target["apiVersion"] {
            let union = union(&target["fieldsV1"], &entry["fieldsV1"]);
            target["fieldsV1"] = union;
        }
    }
    let others = managed_fields
        .iter()
        .filter(|entry| !moves(entry) && !applies(entry));
    Some(once_first(target, others))
}

fn adopted(entry: &Value, to: &str) -> Value {
    let mut entry = entry.clone();
    entry["manager"] = json!(to);
    entry["operation"] = json!("Apply");
    entry
}

fn once_first<'a>(first: Value, rest: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    std::iter::once(first).chain(rest.cloned()).collect()
}

fn is_main(entry: &Value) -> bool {
    entry["subresource"].as_str().unwrap_or_default().is_empty()
}

// A field set is a tree of objects; a leaf is an empty one, and `.` says that the node itself is held.
fn union(one: &Value, other: &Value) -> Value {
    let mut all = Map::new();
    for fields in [one, other].into_iter().filter_map(Value::as_object) {
        for (name, inner) in fields {
            let both = match all.get(name) {
                Some(known) => union(known, inner),
                None => inner.clone(),
            };
            all.insert(name.clone(), both);
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    fn entry(manager: &str, operation: &str, version: &str, time: &str, fields: &Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": version, "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    }

    #[test]
    fn fields_of_put_and_kubectl_move_to_apply() {
        let kubectl = entry(
            "kubectl-client-side-apply",
            "Update",
            "apps/v1",
            "2026-01-01T00:00:00Z",
            &json!({"f:spec": {"f:replicas": {}, "f:paused": {}}}),
        );
        let put = entry(
            "work-agent",
            "Update",
            "apps/v1",
            "2026-02-01T00:00:00Z",
            &json!({"f:spec": {".": {}, "f:replicas": {}}}),
        );
        let mut status = entry(
            "work-agent",
            "Update",
            "apps/v1",
            "",
            &json!({"f:status": {}}),
        );
        status["subresource"] = json!("status");
        let other = entry(
            "hpa",
            "Update",
            "apps/v1",
            "",
            &json!({"f:spec": {"f:replicas": {}}}),
        );
        let before = [kubectl, put, status.clone(), other.clone()];
        let after = upgrade(
            &before,
            &["kubectl-client-side-apply", "work-agent"],
            "work-agent",
        );
        let applied = entry(
            "work-agent",
            "Apply",
            "apps/v1",
            "2026-02-01T00:00:00Z",
            &json!({"f:spec": {".": {}, "f:replicas": {}, "f:paused": {}}}),
        );
        assert_eq!(after, Some(vec![applied, status.clone(), other.clone()]));
        assert_eq!(
            upgrade(&after.unwrap(), &["work-agent"], "work-agent"),
            None
        );
        assert_eq!(
            upgrade(&[status, other], &["work-agent"], "work-agent"),
            None
        );
    }

    #[test]
    fn an_apply_entry_that_exists_is_extended_in_its_version() {
        let apply = entry("work-agent", "Apply", "x/v1", "", &json!({"f:a": {}}));
        let same = entry("old", "Update", "x/v1", "1", &json!({"f:b": {}}));
        let stale = entry("old", "Update", "x/v1beta1", "2", &json!({"f:c": {}}));
        let other = entry("other", "Apply", "x/v1", "", &json!({"f:d": {}}));
        let after = upgrade(&[other.clone(), apply, same, stale], &["old"], "work-agent");
        let united = entry(
            "work-agent",
            "Apply",
            "x/v1",
            "",
            &json!({"f:a": {}, "f:b": {}}),
        );
        assert_eq!(after, Some(vec![united, other]));
    }

    fn fields() -> impl Strategy<Value = Value> {
        let leaf = Just(json!({}));
        leaf.prop_recursive(4, 24, 4, |inner| {
            btree_map(r"f:[a-c]|\.|k:\{x\}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect()))
        })
    }

    fn holds(all: &Value, part: &Value) -> bool {
        part.as_object().is_some_and(|fields| {
            fields
                .iter()
                .all(|(name, inner)| all.get(name).is_some_and(|all| holds(all, inner)))
        })
    }

    proptest! {
        #[test]
        fn a_union_holds_both_and_nothing_else(one in fields(), other in fields(), third in fields()) {
            let both = union(&one, &other);
            prop_assert!(holds(&both, &one) && holds(&both, &other));
            prop_assert_eq!(&both, &union(&other, &one));
            prop_assert_eq!(&union(&both, &one), &both);
            prop_assert_eq!(&union(&one, &one), &one);
            prop_assert_eq!(union(&both, &third), union(&one, &union(&other, &third)));
            // The least upper bound: whatever holds both holds the union.
            let larger = union(&union(&third, &one), &other);
            prop_assert!(holds(&larger, &both));
        }
    }
}
