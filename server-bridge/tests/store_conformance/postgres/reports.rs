//! Reports that several processes write: transactions that commit late, readers on another replica, the version before,
//! and databases that are not the one of before.

use server_bridge::store::{
    ReportHead, ReportStore as _, SourceName, StatusOutcome, Store, StoreError,
};

use super::{Place, until};
use crate::reports::{reported, source};
use crate::status::status;
use crate::{at, bundle, name, with_consumers};

/// How many entries of an index were looked at.
fn entries(place: &Place, index: &str) -> i64 {
    let read = place.sql(&format!(
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = '{index}'"
    ));
    read.parse().unwrap()
}

fn ids(heads: &[ReportHead]) -> Vec<&str> {
    heads.iter().map(|head| head.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commits_late_is_told_once_it_has_and_holds_nobody_else_up() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    with_consumers(&one, &["c1"]).await;
    for id in ["early", "late", "undone", "next"] {
        one.create_bundle(bundle(id, "c1"), at(1)).await.unwrap();
        one.apply_status(status(id, "c1", 1, 1)).await.unwrap();
    }
    // What a position was taken of on one replica is read on the other.
    let begin = one.reports_end().await.unwrap();
    let (server, database) = (place.server, place.database.clone());
    let run = move |text: String| {
        let database = database.clone();
        std::thread::spawn(move || server.sql(&database, &text))
    };
    let _gate = run("SELECT pg_advisory_lock(4242), pg_sleep(600)".into());
    let held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    until("the gate", async || place.sql(held) == "1").await;
    // Both have their numbers before those that come, and end long after them.
    let write = |id: &str, end: &str| {
        format!(
            "BEGIN; UPDATE bridge.statuses SET payload = payload WHERE bundle_key = \
             (SELECT key FROM bridge.bundles WHERE id = '{id}'); SELECT pg_advisory_xact_lock(4242); {end}"
        )
    };
    let late = run(write("late", "COMMIT"));
    let undone = run(write("undone", "ROLLBACK"));
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4242 AND NOT granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until("two that wait", async || place.sql(waiting) == "2").await;
    one.apply_status(status("early", "c1", 1, 2)).await.unwrap();
    let (seen, after) = reported(&other, begin.clone()).await;
    assert_eq!(seen, ["early"], "others are not held up");
    let (seen, after) = reported(&one, after).await;
    assert!(seen.is_empty(), "nor do they come again: {seen:?}");
    one.apply_status(status("next", "c1", 1, 2)).await.unwrap();
    let (seen, after) = reported(&other, after).await;
    assert_eq!(seen, ["next"]);

    place.end_sessions("query LIKE '%pg_sleep%'");
    late.join().unwrap().unwrap();
    undone.join().unwrap().unwrap();
    let (seen, after) = reported(&other, after).await;
    assert_eq!(seen, ["late"]);
    assert!(reported(&one, after).await.0.is_empty());
    let (seen, _) = reported(&one, begin).await;
    assert_eq!(seen, ["late", "early", "next"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commits_while_a_reader_goes_through_parts_comes_after_them() {
    let place = Place::new();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    let begin = store.reports_end().await.unwrap();
    for number in 0..7 {
        let id = format!("b{number}");
        store.create_bundle(bundle(&id, "c1"), at(1)).await.unwrap();
        store.apply_status(status(&id, "c1", 1, 1)).await.unwrap();
    }
    let first = store.reports_after(begin, 3).await.unwrap();
    assert_eq!(ids(&first.heads), ["b0", "b1", "b2"]);
    // One that was read, and one that was not yet.
    for id in ["b0", "b5"] {
        store.apply_status(status(id, "c1", 1, 2)).await.unwrap();
    }
    let (seen, _) = reported(&store, first.next).await;
    assert_eq!(seen, ["b3", "b4", "b6"], "up to where the first part began");
    let first = store.reports_after(store.reports_end().await.unwrap(), 3);
    assert!(first.await.unwrap().heads.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_before_writes_bundles_of_the_own_source_and_reports() {
    let place = Place::new();
    let store = place.open().await;
    with_consumers(&store, &["c1", "c2"]).await;
    // Nobody's, as what was copied from an older file.
    let insert = |id: &str, consumer: &str| {
        place.sql(&format!(
            "WITH b AS (INSERT INTO bridge.bundles (id, name, consumer_name, version, created_at, updated_at, epoch) \
               VALUES ('{id}', '{id}', '{consumer}', 1, 0, 0, 1) RETURNING key) \
             INSERT INTO bridge.contents (bundle_key, manifests) SELECT key, '[]' FROM b"
        ));
    };
    insert("before", "c1");
    let own = link::id::SourceId::new("ours").unwrap();
    assert_eq!(
        store.get_bundle("before").await.unwrap().unwrap().source,
        SourceName::default()
    );
    store.assign_source(&own).await.unwrap();
    store.assign_source(&own).await.unwrap();
    insert("old", "c1");
    insert("lost", "c2");
    for id in ["before", "old", "lost"] {
        let shown = store.get_bundle(id).await.unwrap().unwrap();
        assert_eq!(shown.source, SourceName::from(&own), "{id}");
    }
    // A version that it makes carries nothing of the publication of another one.
    let mut new = bundle("mixed", "c1");
    new.source = source("rosa");
    new.origin = Some(server_bridge::store::Json::parse("{\"id\":\"e\"}").unwrap());
    store.create_bundle(new, at(1)).await.unwrap();
    place.sql(
        "UPDATE bridge.bundles SET version = 2, metadata = NULL, unsent = true WHERE id = 'mixed'",
    );
    let shown = store.get_bundle("mixed").await.unwrap().unwrap();
    assert_eq!((shown.source, shown.origin), (source("rosa"), None));
    let pending = store
        .pending(&name("c1"), vec!["mixed".into()])
        .await
        .unwrap();
    assert_eq!(pending[0].origin, None);

    let end = store.reports_end().await.unwrap();
    place.sql(
        "WITH s AS (INSERT INTO bridge.statuses (bundle_key, payload) SELECT key, '{\"conditions\":[]}' \
           FROM bridge.bundles WHERE id = 'old' \
           ON CONFLICT (bundle_key) DO UPDATE SET payload = excluded.payload) \
         UPDATE bridge.bundles SET status_version = 1, status_sequence = '1', status_taken_at = 5 WHERE id = 'old'",
    );
    let (seen, next) = reported(&store, end).await;
    assert_eq!(seen, ["old"]);
    // It removes what was confirmed, and what goes with its consumer.
    place.sql("UPDATE bridge.bundles SET deleted_at = 7 WHERE id = 'old'; DELETE FROM bridge.bundles WHERE id = 'old'");
    place.sql(
        "DELETE FROM bridge.contents WHERE bundle_key IN (SELECT key FROM bridge.bundles WHERE consumer_name = 'c2'); \
         DELETE FROM bridge.bundles WHERE consumer_name = 'c2'",
    );
    let (seen, _) = reported(&store, next).await;
    assert_eq!(seen, ["-old", "-lost"]);
    for (id, reason) in [("old", "ManifestsDeleted"), ("lost", "ConsumerRemoved")] {
        let report = store.report(id).await.unwrap().unwrap();
        assert!(report.gone);
        assert_eq!(report.source, SourceName::from(&own));
        assert_eq!(report.content.is_some(), id == "old");
        let condition = &report.payload.to_value()["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["status"]),
            (&"Deleted".into(), &"True".into())
        );
        assert_eq!(condition["reason"], reason);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_of_another_history_are_refused_and_a_reader_begins_anew() {
    let place = Place::new();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let position = store.reports_end().await.unwrap();
    // As if the server had another timeline than when it was opened last.
    place.sql("UPDATE bridge.epochs SET place = (place::jsonb || '{\"timeline\": \"77\"}')::text");
    let other = place.open().await;
    store.apply_status(status("b", "c1", 1, 1)).await.unwrap();
    for store in [&store, &other] {
        let lost = store.reports_after(position.clone(), 9).await.unwrap_err();
        assert!(matches!(lost, StoreError::PositionLost), "{lost:?}");
        assert!(!lost.is_retryable());
    }
    let end = other.reports_end().await.unwrap();
    let own = SourceName::default();
    let since = other.reports_since(&own, at(0), None, 9);
    assert_eq!(ids(&since.await.unwrap().heads), ["b"]);
    store.apply_status(status("b", "c1", 1, 2)).await.unwrap();
    assert_eq!(reported(&store, end).await.0, ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_that_remove_and_forget_leave_one_report_of_each() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    with_consumers(&stores[0], &["c1"]).await;
    for round in 0..20 {
        let id = format!("b{round}");
        stores[0]
            .create_bundle(bundle(&id, "c1"), at(1))
            .await
            .unwrap();
        stores[0].mark_deleting(&id, at(2)).await.unwrap();
        let mut deleted = status(&id, "c1", 1, 1);
        deleted.deleted = true;
        let (left, right) = tokio::join!(
            stores[0].apply_status(deleted.clone()),
            stores[1].apply_status(deleted.clone())
        );
        let outcomes = [left.unwrap(), right.unwrap()];
        let removed = outcomes
            .iter()
            .filter(|outcome| **outcome == StatusOutcome::Deleted);
        assert_eq!(removed.count(), 1, "{outcomes:?}");
    }
    assert_eq!(
        place.sql("SELECT count(*), count(DISTINCT id) FROM bridge.gone_reports"),
        "20|20"
    );
    let (left, right) = tokio::join!(
        stores[0].prune_reports(at(101)),
        stores[1].prune_reports(at(101))
    );
    assert_eq!(left.unwrap() + right.unwrap(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_s_page_and_reports_are_found_by_their_indexes() {
    let place = Place::new();
    let store = place.open().await;
    // It is built beside the bridge, and would wait for the reader of the tables, which waits for it.
    until("the index", async || {
        place.sql(super::upgrades::VALID) == "1"
    })
    .await;
    with_consumers(&store, &["c1"]).await;
    place.sql(
        "INSERT INTO bridge.bundles (name, id, consumer_name, version, created_at, updated_at, source, status_taken_at, \
           status_version) SELECT 'n' || n, 'i' || n, 'c1', 1, 0, 0, 's' || n % 100, n, 1 FROM generate_series(1, 20000) n; \
         INSERT INTO bridge.contents (bundle_key, manifests) SELECT key, '[]' FROM bridge.bundles; \
         INSERT INTO bridge.statuses (bundle_key, payload) SELECT key, '{}' FROM bridge.bundles",
    );
    place.sql("ANALYZE bridge.bundles, bridge.statuses");
    let end = store.reports_end().await.unwrap();
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    store.apply_status(status("b", "c1", 1, 1)).await.unwrap();
    let scans = |index: &str| {
        place.sql(&format!(
            "SELECT idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname = '{index}'"
        )) == "t"
    };
    let whole = || place.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'statuses'");
    let before = whole();
    assert_eq!(reported(&store, end).await.0, ["b"]);
    until("the index of reports", async || scans("statuses_by_report")).await;
    assert_eq!(whole(), before, "no status was looked at in vain");
    let of = source("s7");
    let (mut count, mut after) = (0, None);
    loop {
        let page = store.reports_since(&of, jiff::Timestamp::UNIX_EPOCH, after, 20);
        let page = page.await.unwrap();
        count += page.heads.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(count, 200);
    until("the index of sources", async || scans("bundles_by_source")).await;
    // All pages together are one look, but for the last few rows; each looking at all that are left would be 1100.
    assert!(entries(&place, "bundles_by_source") <= 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stays_open_anywhere_makes_no_look_at_reports_longer() {
    let place = Place::new();
    let store = place.open().await;
    until("the index", async || {
        place.sql(super::upgrades::VALID) == "1"
    })
    .await;
    with_consumers(&store, &["c1"]).await;
    let server = place.server;
    let other = format!("other than {}", place.database);
    let open = format!(
        "SET application_name = '{other}'; BEGIN; SELECT pg_current_xact_id(), pg_sleep(600)"
    );
    let opened = std::thread::spawn(move || server.sql("postgres", &open));
    let held = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{other}' AND wait_event = 'PgSleep' \
         AND backend_xid IS NOT NULL"
    );
    until("the transaction", async || place.sql(&held) == "1").await;
    let begin = store.reports_end().await.unwrap();
    place.sql(
        "INSERT INTO bridge.bundles (name, id, consumer_name, version, created_at, updated_at, source, status_taken_at, \
           status_version) SELECT 'n' || n, 'i' || n, 'c1', 1, 0, 0, 's', n, 1 FROM generate_series(1, 20000) n; \
         INSERT INTO bridge.contents (bundle_key, manifests) SELECT key, '[]' FROM bridge.bundles; \
         INSERT INTO bridge.statuses (bundle_key, payload) SELECT key, '{}' FROM bridge.bundles",
    );
    place.sql("ANALYZE bridge.bundles, bridge.statuses");
    let end = store.reports_end().await.unwrap();
    for _ in 0..5 {
        let part = store.reports_after(end.clone(), 9).await.unwrap();
        assert!(part.heads.is_empty() && !part.more);
    }
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    store.apply_status(status("b", "c1", 1, 1)).await.unwrap();
    assert_eq!(reported(&store, end).await.0, ["b"]);
    let scans = || {
        place.sql(
            "SELECT idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname = 'statuses_by_report'",
        ) == "t"
    };
    until("the index of reports", async || scans()).await;
    let entries = entries(&place, "statuses_by_report");
    assert!(entries < 100, "{entries} entries were looked at");
    // Nor is anything left out on the way there, part by part.
    let (mut after, mut count) = (begin, 0);
    loop {
        let part = store.reports_after(after, 3000).await.unwrap();
        count += part.heads.len();
        after = part.next;
        if !part.more {
            break;
        }
    }
    assert_eq!(count, 20_001);
    place.server.sql("postgres", &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{other}'")).unwrap();
    assert!(opened.join().unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_long_transactions_and_their_parts_write_comes_in_parts_that_leave_nothing_out() {
    let place = Place::new();
    let store = place.open().await;
    with_consumers(&store, &["c1"]).await;
    for number in 0..9 {
        let id = format!("b{number}");
        store.create_bundle(bundle(&id, "c1"), at(1)).await.unwrap();
        store.apply_status(status(&id, "c1", 1, 1)).await.unwrap();
    }
    let (server, database) = (place.server, place.database.clone());
    let run = move |text: String| {
        let database = database.clone();
        std::thread::spawn(move || server.sql(&database, &text))
    };
    let waiting = |number: u16| {
        place.sql(&format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {number} AND NOT granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ))
    };
    let held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let _gate = run("SELECT pg_advisory_lock(1), pg_sleep(600)".into());
    until("the gate", async || place.sql(held) == "1").await;
    let write = |ids: &str| {
        format!(
            "UPDATE bridge.statuses SET payload = payload WHERE bundle_key IN \
             (SELECT key FROM bridge.bundles WHERE id IN ({ids}))"
        )
    };
    let mut late = Vec::new();
    for (part, whole) in [("'b0', 'b4'", "'b2'"), ("'b1', 'b5'", "'b3'")] {
        let (part, whole) = (write(part), write(whole));
        late.push(run(format!(
            "BEGIN; SELECT pg_current_xact_id(); SAVEPOINT one; {part}; RELEASE one; {whole}; \
             SELECT pg_advisory_xact_lock(1); COMMIT"
        )));
        let expected = late.len().to_string();
        until("one that waits", async || waiting(1) == expected).await;
    }
    let begin = store.reports_end().await.unwrap();
    store.apply_status(status("b8", "c1", 1, 2)).await.unwrap();
    place.end_sessions("query LIKE '%pg_sleep%'");
    for late in late {
        late.join().unwrap().unwrap();
    }
    store.apply_status(status("b7", "c1", 1, 2)).await.unwrap();
    let (seen, after) = reported(&store, begin).await;
    assert_eq!(seen, ["b0", "b2", "b4", "b1", "b3", "b5", "b8", "b7"]);
    assert!(reported(&store, after).await.0.is_empty());
}
