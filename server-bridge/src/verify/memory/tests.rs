use serde_json::{Value, json};

use super::*;

/// A cluster with these bundles, whose agent reported this at this minute.
fn look(bundles: &[Value], works: Option<&HeldWorks>, minute: i64) -> Look {
    let report_at = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(minute);
    let agent = json!({"state": "idle", "lastReportAt": report_at, "works": works});
    Look {
        consumer: "c1".into(),
        before: serde_json::from_value(agent.clone()).unwrap(),
        bundles: Some(serde_json::from_value(Value::from(bundles)).unwrap()),
        after: serde_json::from_value(agent).unwrap(),
    }
}

fn at(second: u32) -> String {
    format!("2026-11-29T10:00:{second:02}Z")
}

fn bundle(id: &str, version: i64, entry: &Value) -> Value {
    let mut first = json!({
        "version": version, "stored_at": at(1), "published_at": at(2), "broker_acked_at": at(3),
        "received_at": at(4), "applied_at": at(5), "reported_at": at(6), "attempts": 1,
    });
    for (name, value) in entry.as_object().unwrap() {
        first[name] = value.clone();
    }
    json!({"id": id, "version": version, "status_version": version, "applied": "True", "ledger": [first]})
}

/// What is found when the second follows the first.
fn found(first: &Value, second: &Value) -> Vec<String> {
    let mut memory = Memory::default();
    assert!(
        memory
            .compare(&look(std::slice::from_ref(first), None, 0))
            .violations
            .is_empty()
    );
    let compared = memory.compare(&look(std::slice::from_ref(second), None, 0));
    let findings = compared
        .violations
        .into_iter()
        .map(|violation| violation.finding);
    findings
        .map(|finding| format!("{} {}", finding.code, finding.seen))
        .collect()
}

#[test]
fn a_ledger_may_go_on_or_begin_anew_and_nothing_else() {
    let was = bundle("b", 2, &json!({}));
    for fine in [
        json!({}),
        json!({"broker_acked_at": at(9)}),
        // Sent once more: what was received is not there any more.
        json!({"published_at": null, "broker_acked_at": null, "received_at": null, "applied_at": null, "reported_at": null, "failed_at": at(9)}),
        json!({"published_at": at(9), "reported_at": null, "attempts": 2}),
    ] {
        assert_eq!(found(&was, &bundle("b", 2, &fine)), [""; 0], "{fine}");
    }
    for (bad, what) in [
        (
            json!({"applied_at": null}),
            "applied at 2026-11-29T10:00:05Z is forgotten",
        ),
        (
            json!({"reported_at": at(5)}),
            "has become 2026-11-29T10:00:05Z",
        ),
        (json!({"stored_at": at(9)}), "is said to be stored at"),
        (json!({"attempts": 0}), "1 attempts have become 0"),
    ] {
        let found = found(&was, &bundle("b", 2, &bad));
        assert_eq!(found.len(), 1, "{bad}");
        assert!(
            found[0].starts_with("MQ922") && found[0].contains(what),
            "{found:?}"
        );
    }
}

#[test]
fn a_version_that_was_seen_is_not_followed_by_a_lower_one() {
    let (one, two) = (bundle("b", 1, &json!({})), bundle("b", 2, &json!({})));
    assert_eq!(found(&one, &two), [""; 0]);
    let found = found(&two, &one);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("MQ924 Bundle `b` of `c1`"),
        "{found:?}"
    );
}

#[test]
fn a_bundle_that_was_deleted_and_made_again_is_another_one() {
    let (mut was, mut is) = (bundle("b", 2, &json!({})), bundle("b", 1, &json!({})));
    was["created_at"] = at(1).into();
    is["created_at"] = at(9).into();
    assert_eq!(found(&was, &is), [""; 0]);
}

#[test]
fn what_both_ends_hold_is_compared_only_by_a_report_between_two_equal_looks() {
    let (b, newer) = ([bundle("b", 1, &json!({}))], [bundle("b", 2, &json!({}))]);
    let right = HeldWorks::of([("b", Version::FIRST)]);
    let wrong = HeldWorks::of([("x", Version::FIRST)]);
    let compare = |first: &Look, second: &Look| {
        let mut memory = Memory::default();
        memory.compare(first);
        let compared = memory.compare(second);
        (compared.digests, compared.violations.len())
    };
    let first = look(&b, Some(&wrong), 0);
    assert_eq!(compare(&first, &look(&b, Some(&right), 1)), (1, 0));
    assert_eq!(compare(&first, &look(&b, Some(&wrong), 1)), (1, 1));
    assert_eq!(
        compare(&first, &look(&b, Some(&wrong), 0)),
        (0, 0),
        "no report since"
    );
    assert_eq!(
        compare(&first, &look(&newer, Some(&wrong), 1)),
        (0, 0),
        "it changed"
    );
    assert_eq!(compare(&first, &look(&b, None, 1)), (0, 0), "a Go agent");
    let mut waiting = b.clone();
    waiting[0]["waiting_for"] = json!("send");
    let waiting = look(&waiting, Some(&wrong), 0);
    assert_eq!(
        compare(&waiting, &look(&b, Some(&wrong), 1)),
        (0, 0),
        "under way"
    );
}

#[test]
fn a_full_memory_keeps_what_it_has_so_that_something_is_compared() {
    let mut memory = Memory::default();
    let bundles: Vec<Value> = (0..MOST_BUNDLES / 2)
        .map(|number| json!({"id": number.to_string(), "version": 1}))
        .collect();
    let see = |memory: &mut Memory, consumer: &str| {
        let mut look = look(&bundles, None, 0);
        look.consumer = consumer.into();
        let compared = memory.compare(&look);
        (compared.left_out, compared.bundles > 0)
    };
    for _ in 0..2 {
        for consumer in ["a", "b"] {
            assert!(!see(&mut memory, consumer).0);
        }
        assert_eq!(see(&mut memory, "c"), (true, false));
    }
    assert_eq!(see(&mut memory, "a"), (false, true));
    assert_eq!(memory.remembered(), MOST_BUNDLES);
    memory.note_canary("a", "x-a", 1);
    memory.keep_only(&["b".into(), "c".into()]);
    assert_eq!(
        (memory.remembered(), memory.canary("a")),
        (MOST_BUNDLES / 2, None)
    );
    assert_eq!(see(&mut memory, "c"), (false, false));
}
