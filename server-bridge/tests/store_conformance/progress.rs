//! How far bundles have come: what searches find by it and what lists tell of it.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use server_bridge::store::query::{
    BundleColumn, Comparison, Filter, Order, Parts, Query, Subject, Value,
};
use server_bridge::store::{
    AgentVersion, ConditionStatus, Json, Progress, StatusOutcome, StatusUpdate, Store, WaitingFor,
};

use crate::status::status;
use crate::{at, bundle, content, name, version, with_consumers};

const ASKED: Parts = Parts {
    content: false,
    status: false,
    ledger: false,
    progress: true,
};

/// A status with the work's conditions, taken at `second`.
pub(crate) fn told(
    (id, number): (&str, i64),
    step: u16,
    (applied, available): (&str, &str),
    second: i64,
) -> StatusUpdate {
    let condition = |kind: &str, word: &str| {
        format!(
            "{{\"type\":\"{kind}\",\"status\":\"{word}\",\"observedGeneration\":{number},\
             \"lastTransitionTime\":\"2026-08-01T10:00:02Z\",\"reason\":\"R\",\"message\":\"\"}}"
        )
    };
    let words = [("Applied", applied), ("Available", available)];
    let conditions = words.map(|(kind, word)| condition(kind, word)).join(",");
    StatusUpdate {
        payload: Json::parse(&format!("{{\"conditions\":[{conditions}]}}")).unwrap(),
        applied_at: (applied == "True").then(|| at(second - 1)),
        at: at(second),
        ..status(id, "c1", number, step)
    }
}

async fn rows(
    store: &impl Store,
    filter: Option<Filter<BundleColumn>>,
    order: &[(BundleColumn, bool)],
) -> Vec<(String, Progress)> {
    let order = order.iter().map(|(column, descending)| Order {
        column: *column,
        descending: *descending,
    });
    let query = Query {
        filter,
        order: order.collect(),
        offset: 0,
        limit: 100,
    };
    let page = store.list_bundles(query, ASKED).await.unwrap();
    let total = page.total;
    let rows: Vec<_> = page.rows.try_collect().await.unwrap();
    assert_eq!(total, rows.len() as u64);
    let progress = |bundle: server_bridge::store::Bundle| (bundle.id, bundle.progress.unwrap());
    rows.into_iter().map(progress).collect()
}

fn is(column: BundleColumn, text: &str) -> Filter<BundleColumn> {
    let value = Value::Text(text.to_owned());
    Filter::Compare(Subject::Column(column), Comparison::Equal, value)
}

pub(crate) async fn progress(store: &impl Store, id: &str) -> Progress {
    let mut found = rows(store, Some(is(BundleColumn::Id, id)), &[]).await;
    found.remove(0).1
}

async fn waits(store: &impl Store, id: &str) -> Option<(WaitingFor, Timestamp)> {
    let progress = progress(store, id).await;
    progress.waiting_for.zip(progress.waiting_since)
}

pub(crate) async fn sent(store: &impl Store, id: &str, number: i64, deletion: bool, second: i64) {
    let (version, at) = (version(number), at(second));
    let published = store.record_published(id, version, deletion, at);
    published.await.unwrap();
    let acked = store.record_broker_acked(id, version, deletion, true, at);
    acked.await.unwrap();
}

pub(crate) async fn each_column_says_how_far_a_bundle_has_come_at_each_hop(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let waits = async || waits(&store, "b").await;
    let told = async |number, step, words, second| {
        let told = store.apply_status(told(("b", number), step, words, second));
        assert_eq!(told.await.unwrap(), StatusOutcome::Stored);
        let now = progress(&store, "b").await;
        assert_eq!(now.status_version, Some(version(number)));
        assert_eq!(now.status_at, Some(at(second)));
        (now.applied, now.available)
    };
    let (yes, no) = (Some(ConditionStatus::True), Some(ConditionStatus::False));
    assert_eq!(waits().await, Some((WaitingFor::Send, at(1))));
    let before = progress(&store, "b").await;
    assert_eq!((before.status_version, before.status_at), (None, None));
    assert_eq!((before.applied, before.available), (None, None));
    sent(&store, "b", 1, false, 6).await;
    assert_eq!(waits().await, Some((WaitingFor::Apply, at(6))));
    assert_eq!(told(1, 1, ("False", "False"), 10).await, (no, no));
    assert_eq!(waits().await, Some((WaitingFor::Apply, at(6))));
    assert_eq!(told(1, 2, ("True", "False"), 20).await, (yes, no));
    assert_eq!(waits().await, Some((WaitingFor::Available, at(20))));
    let unknown = Some(ConditionStatus::Unknown);
    assert_eq!(told(1, 3, ("True", "Unknown"), 25).await, (yes, unknown));
    assert_eq!(waits().await, Some((WaitingFor::Available, at(20))));
    assert_eq!(told(1, 4, ("True", "True"), 30).await, (yes, yes));
    assert_eq!(waits().await, None);
    // Not applied any more: since it was first said.
    for (step, second) in [(5, 40), (6, 45)] {
        assert_eq!(told(1, step, ("False", "True"), second).await, (no, yes));
        assert_eq!(waits().await, Some((WaitingFor::Apply, at(40))));
    }
    assert_eq!(told(1, 7, ("True", "True"), 50).await, (yes, yes));
    // Asked for once more: since the broker last took it.
    let held = vec![AgentVersion {
        id: "b".into(),
        version: version(0),
    }];
    let resent = store.request_resend(&name("c1"), held).await.unwrap();
    assert_eq!(resent, 1);
    assert_eq!(waits().await, Some((WaitingFor::Send, at(6))));
    assert_eq!(told(1, 8, ("True", "True"), 51).await, (yes, yes));
    assert_eq!(waits().await, None);

    let changed = store.update_bundle("b", None, None, content("two"), None, at(60));
    changed.await.unwrap();
    let now = progress(&store, "b").await;
    assert_eq!((now.applied, now.available), (None, None));
    assert_eq!(now.status_version, Some(version(1)));
    assert_eq!(waits().await, Some((WaitingFor::Send, at(60))));
    sent(&store, "b", 2, false, 61).await;
    // A late word about the version before.
    let late = self::told(("b", 1), 9, ("True", "True"), 62);
    let late = store.apply_status(late).await.unwrap();
    assert!(matches!(late, StatusOutcome::StaleVersion { .. }));
    assert_eq!(waits().await, Some((WaitingFor::Apply, at(61))));
    assert_eq!(progress(&store, "b").await.applied, None);
    assert_eq!(told(2, 10, ("True", "False"), 65).await, (yes, no));
    assert_eq!(waits().await, Some((WaitingFor::Available, at(65))));

    store.mark_deleting("b", at(70)).await.unwrap();
    assert_eq!(waits().await, Some((WaitingFor::Deletion, at(70))));
    sent(&store, "b", 2, true, 71).await;
    assert_eq!(waits().await, Some((WaitingFor::Deletion, at(70))));
    let mut deleted = self::told(("b", 2), 11, ("True", "True"), 72);
    deleted.deleted = true;
    let deleted = store.apply_status(deleted).await.unwrap();
    assert_eq!(deleted, StatusOutcome::Deleted);
    assert!(rows(&store, None, &[]).await.is_empty());

    // Made again under the same id: what its earlier life was like is not said of it.
    store
        .create_bundle(bundle("b", "c1"), at(80))
        .await
        .unwrap();
    assert_eq!(waits().await, Some((WaitingFor::Send, at(80))));
    let again = progress(&store, "b").await;
    assert_eq!((again.applied, again.status_version), (None, None));
}

pub(crate) async fn a_status_of_another_version_or_history_says_nothing_of_the_present_one(
    store: impl Store,
) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let good = ("True", "True");
    let applied = async || progress(&store, "b").await.applied;
    // Nothing was sent under this number.
    let stored = store.apply_status(told(("b", 1), 1, good, 10)).await;
    assert_eq!(stored.unwrap(), StatusOutcome::Stored);
    assert_eq!(applied().await, None);
    assert_eq!(waits(&store, "b").await, Some((WaitingFor::Send, at(1))));
    sent(&store, "b", 1, false, 11).await;
    assert_eq!(applied().await, None);
    let stored = store.apply_status(told(("b", 1), 2, good, 12)).await;
    assert_eq!(stored.unwrap(), StatusOutcome::Stored);
    assert_eq!(applied().await, Some(ConditionStatus::True));
    assert_eq!(waits(&store, "b").await, None);

    // The cluster holds one that this store has never had.
    let ahead = store.apply_status(told(("b", 3), 3, good, 20)).await;
    assert!(matches!(ahead.unwrap(), StatusOutcome::Ahead { .. }));
    let now = progress(&store, "b").await;
    assert_eq!((now.applied, now.available), (None, None));
    assert_eq!(now.status_version, Some(version(3)));
    assert_eq!(waits(&store, "b").await, Some((WaitingFor::Apply, at(11))));
    // Where the versions meet, it is not of ours either.
    for text in ["two", "three"] {
        let changed = store.update_bundle("b", None, None, content(text), None, at(30));
        changed.await.unwrap();
    }
    let now = progress(&store, "b").await;
    assert_eq!(now.status_version, Some(version(3)));
    assert_eq!((now.applied, now.available), (None, None));
    let held = vec![AgentVersion {
        id: "b".into(),
        version: version(7),
    }];
    store.raise(&name("c1"), held, at(40)).await.unwrap();
    assert_eq!(waits(&store, "b").await, Some((WaitingFor::Send, at(40))));
    sent(&store, "b", 8, false, 41).await;
    let stored = store.apply_status(told(("b", 8), 4, good, 42)).await;
    assert_eq!(stored.unwrap(), StatusOutcome::Stored);
    assert_eq!(applied().await, Some(ConditionStatus::True));
}

pub(crate) async fn searches_find_what_waits_and_loads_count_it(store: impl Store) {
    with_consumers(&store, &["c1", "c2", "c3"]).await;
    for (id, consumer, second) in [
        ("send", "c2", 5),
        ("apply", "c1", 4),
        ("failed", "c1", 3),
        ("unavailable", "c1", 2),
        ("done", "c1", 1),
        ("deleting", "c1", 6),
    ] {
        let new = bundle(id, consumer);
        store.create_bundle(new, at(second)).await.unwrap();
        if id != "send" {
            sent(&store, id, 1, false, second + 10).await;
        }
    }
    for (id, words, second) in [
        ("failed", ("False", "Unknown"), 30),
        ("unavailable", ("True", "False"), 31),
        ("done", ("True", "True"), 32),
    ] {
        let told = store.apply_status(told((id, 1), 1, words, second));
        assert_eq!(told.await.unwrap(), StatusOutcome::Stored);
    }
    store.mark_deleting("deleting", at(40)).await.unwrap();

    use BundleColumn::{Applied, Available, StatusAt, StatusVersion, WaitingFor, WaitingSince};
    let column = Subject::Column;
    let text = |text: &str| Value::Text(text.to_owned());
    let not = |filter| Filter::Not(Box::new(filter));
    let compare = |subject, how, value| Filter::Compare(column(subject), how, value);
    let time = |second| Value::Integer(at(second).as_microsecond());
    let stuck = Filter::All(vec![
        is(BundleColumn::ConsumerName, "c1"),
        is(WaitingFor, "apply"),
        compare(WaitingSince, Comparison::Less, time(14)),
    ]);
    let by_since = &[(WaitingSince, false)][..];
    for (filter, order, expected) in [
        (
            None,
            by_since,
            "done send failed apply unavailable deleting",
        ),
        (
            None,
            &[(WaitingSince, true)],
            "deleting unavailable apply failed send done",
        ),
        (
            None,
            &[(WaitingFor, false), (StatusAt, true)],
            "done failed apply unavailable deleting send",
        ),
        (
            None,
            &[(Applied, true)],
            "unavailable done failed send apply deleting",
        ),
        (Some(is(WaitingFor, "apply")), by_since, "failed apply"),
        (Some(stuck), &[], "failed"),
        // What is absent is neither equal nor unequal to anything.
        (
            Some(not(is(WaitingFor, "apply"))),
            &[],
            "send unavailable deleting",
        ),
        (
            Some(compare(WaitingFor, Comparison::NotEqual, text("send"))),
            &[],
            "apply failed unavailable deleting",
        ),
        (Some(Filter::IsNull(column(WaitingFor))), &[], "done"),
        (Some(is(Applied, "True")), &[], "unavailable done"),
        (Some(not(is(Applied, "True"))), &[], "failed"),
        (
            Some(Filter::In(
                column(Available),
                vec![text("False"), text("Unknown")],
            )),
            &[],
            "failed unavailable",
        ),
        (
            Some(compare(StatusVersion, Comparison::Equal, Value::Integer(1))),
            &[],
            "failed unavailable done",
        ),
        (
            Some(compare(StatusAt, Comparison::GreaterOrEqual, time(31))),
            &[],
            "unavailable done",
        ),
        (
            Some(not(Filter::IsNull(column(StatusAt)))),
            &[],
            "failed unavailable done",
        ),
    ] {
        let shown = format!("{filter:?} {order:?}");
        let found = rows(&store, filter, order).await;
        let ids: Vec<_> = found.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids.join(" "), expected, "{shown}");
    }

    let names = ["c1", "c2", "c3"].map(name).to_vec();
    let loads = store.loads(names).await.unwrap();
    let load = loads["c1"];
    assert_eq!((load.bundles, load.waiting_to_send), (5, 0));
    assert_eq!((load.waiting_to_apply, load.waiting_for_available), (2, 1));
    assert_eq!(load.waiting_for_deletion, 1);
    assert_eq!(load.oldest_waiting_since, Some(at(13)));
    assert_eq!((loads["c2"].bundles, loads["c2"].waiting_to_send), (1, 1));
    assert_eq!(loads["c2"].oldest_waiting_since, Some(at(5)));
    assert_eq!(loads.get("c3").copied().unwrap_or_default().bundles, 0);
    let only = store.loads(vec![name("c2")]).await.unwrap();
    assert_eq!(only.len(), 1);
}

/// What was stored by a bridge that knows nothing of conditions: an older status was looked into, or none.
pub(crate) const FORGET: &str = "UPDATE bundles SET told_applied = NULL, told_available = NULL, \
     told_since = NULL, told_sequence = CASE WHEN id = 'a' THEN NULL ELSE '1' END";

/// Three bundles whose statuses say three things, as [`FORGET`] then finds them.
pub(crate) async fn three(store: &impl Store) {
    with_consumers(store, &["c1"]).await;
    for (id, words) in [
        ("a", ("True", "True")),
        ("b", ("True", "False")),
        ("c", ("False", "Unknown")),
    ] {
        store.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
        sent(store, id, 1, false, 2).await;
        let told = store.apply_status(told((id, 1), 1, words, 10));
        assert_eq!(told.await.unwrap(), StatusOutcome::Stored);
    }
}

/// What is said of them while nobody has looked into their statuses.
pub(crate) async fn nothing_is_said(store: &impl Store) -> bool {
    let rows = rows(store, None, &[]).await;
    rows.iter().all(|(_, progress)| {
        progress.applied.is_none()
            && progress.waiting_for.is_none()
            && progress.status_at == Some(at(10))
    })
}

/// Whether everything is said again.
pub(crate) async fn all_is_said(store: &impl Store) -> bool {
    let rows = rows(store, None, &[]).await;
    let said = rows.iter().map(|(_, progress)| {
        let since = progress.waiting_since;
        (progress.applied, progress.waiting_for, since)
    });
    said.eq([
        (Some(ConditionStatus::True), None, None),
        (
            Some(ConditionStatus::True),
            Some(WaitingFor::Available),
            Some(at(10)),
        ),
        (
            Some(ConditionStatus::False),
            Some(WaitingFor::Apply),
            Some(at(2)),
        ),
    ])
}
