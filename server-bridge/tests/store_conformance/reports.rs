//! Who published a bundle, what of its publication travels again, and what those who follow reports are told.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use jiff::SignedDuration;
use link::order::SequenceId;
use server_bridge::store::query::{BundleColumn, Comparison, Filter, Parts, Query, Subject, Value};
use server_bridge::store::{
    AgentVersion, Json, REPORTS_KEPT, ReportHead, ReportPosition, SourceName, StatusOutcome, Store,
};

use crate::pages::since;
use crate::status::status;
use crate::{at, bundle, content, name, version, with_consumers};

pub(crate) fn source(text: &str) -> SourceName {
    SourceName::new(text).unwrap()
}

/// Ids of what was reported behind a position, those of bundles that are gone with a `-`, in parts of two; and the end.
pub(crate) async fn reported(
    store: &impl Store,
    mut after: ReportPosition,
) -> (Vec<String>, ReportPosition) {
    let mut seen = Vec::new();
    loop {
        let part = store.reports_after(after, 2).await.unwrap();
        assert!(part.heads.len() <= 2 && (!part.more || part.heads.len() == 2));
        seen.extend(part.heads.iter().map(shown));
        after = part.next;
        if !part.more {
            return (seen, after);
        }
    }
}

pub(crate) fn shown(head: &ReportHead) -> String {
    let gone = if head.gone { "-" } else { "" };
    format!("{gone}{}", head.id)
}

fn of(text: &str, offset: u64, limit: u32) -> Query<BundleColumn> {
    Query {
        filter: Some(Filter::Compare(
            Subject::Column(BundleColumn::Source),
            Comparison::Equal,
            Value::Text(text.to_owned()),
        )),
        order: Vec::new(),
        offset,
        limit,
    }
}

pub(crate) async fn a_search_for_a_source_gives_its_bundles_alone_in_the_order_of_creation(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2"]).await;
    for number in (0..30).rev() {
        let mut new = bundle(
            &format!("b{number:02}"),
            if number % 2 == 0 { "c1" } else { "c2" },
        );
        new.source = source(["maestro", "Mw/client", "rosa"][number % 3]);
        let created = store.create_bundle(new.clone(), at(1)).await.unwrap();
        assert_eq!(created.source, new.source);
    }
    for (text, total) in [
        ("Mw/client", 10),
        ("mw/client", 0),
        ("rosa", 10),
        ("none", 0),
    ] {
        let mut ids = Vec::new();
        for page in 0..3 {
            let page = store
                .list_bundles(of(text, page * 4, 4), Parts::LISTED)
                .await
                .unwrap();
            assert_eq!(page.total, total, "{text}");
            let rows: Vec<_> = page.rows.try_collect().await.unwrap();
            assert!(rows.iter().all(|row| row.source == source(text)));
            ids.extend(rows.into_iter().map(|row| row.id));
        }
        assert_eq!(ids.len() as u64, total);
        assert!(ids.is_sorted_by(|one, next| one > next), "{ids:?}");
    }
}

pub(crate) async fn what_of_a_publication_travels_again_belongs_to_its_version(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    let origin = |id: &str| Some(Json::parse(&format!("{{\"id\": \"{id}\"}}")).unwrap());
    let mut new = bundle("b", "c1");
    new.origin = origin("one");
    let created = store.create_bundle(new.clone(), at(1)).await.unwrap();
    assert_eq!(created.origin, origin("one"));
    let travels = async || {
        let shown = store.get_bundle("b").await.unwrap().unwrap().origin;
        let pending = store.pending(&name("c1"), vec!["b".into()]).await.unwrap();
        assert_eq!(pending[0].origin, shown);
        shown
    };
    assert_eq!(travels().await, origin("one"));
    // What changes nothing does not change what travels either.
    let same = store.update_bundle("b", None, new.metadata, new.content, origin("x"), at(2));
    assert_eq!(same.await.unwrap().version, version(1));
    assert_eq!(travels().await, origin("one"));
    let two = store.update_bundle("b", None, None, content("two"), origin("two"), at(2));
    assert_eq!(two.await.unwrap().origin, origin("two"));
    assert_eq!(travels().await, origin("two"));
    // The same content under another number.
    let held = vec![AgentVersion {
        id: "b".into(),
        version: version(7),
    }];
    store.raise(&name("c1"), held, at(3)).await.unwrap();
    assert_eq!(travels().await, origin("two"));
    let three = store.update_bundle("b", None, None, content("three"), None, at(4));
    assert_eq!(three.await.unwrap().origin, None);
    assert_eq!(travels().await, None);
}

pub(crate) async fn each_status_that_is_taken_is_reported_once(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    let begin = store.reports_end().await.unwrap();
    for id in ["a", "b", "c"] {
        let mut new = bundle(id, "c1");
        if id == "b" {
            new.source = source("rosa");
        }
        store.create_bundle(new, at(1)).await.unwrap();
    }
    let (seen, end) = reported(&store, begin.clone()).await;
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(store.report("b").await.unwrap(), None);
    for (step, id) in (1..).zip(["c", "b", "a"]) {
        let outcome = store.apply_status(status(id, "c1", 1, step)).await.unwrap();
        assert_eq!(outcome, StatusOutcome::Stored);
    }
    let (seen, next) = reported(&store, end).await;
    assert_eq!(seen, ["c", "b", "a"]);
    assert!(reported(&store, next.clone()).await.0.is_empty());
    // Nobody is told of what is refused, or of what has not changed.
    let late = store.apply_status(status("c", "c1", 1, 0)).await.unwrap();
    assert!(matches!(late, StatusOutcome::StaleSequence { .. }));
    let again = store.apply_status(status("c", "c1", 1, 1)).await.unwrap();
    assert!(matches!(again, StatusOutcome::StaleSequence { .. }));
    store
        .record_published("c", version(1), false, at(2))
        .await
        .unwrap();
    let changed = store.update_bundle("c", None, None, content("two"), None, at(3));
    changed.await.unwrap();
    assert!(reported(&store, next.clone()).await.0.is_empty());
    // Two of one bundle before anybody looked are one.
    for step in [8, 9] {
        store
            .apply_status(status("b", "c1", 1, step))
            .await
            .unwrap();
    }
    assert_eq!(reported(&store, next).await.0, ["b"]);
    assert_eq!(reported(&store, begin.clone()).await.0, ["c", "a", "b"]);
    let nothing = store.reports_after(begin.clone(), 0).await.unwrap();
    assert!(nothing.heads.is_empty() && nothing.more);
    assert_eq!(reported(&store, nothing.next).await.0, ["c", "a", "b"]);

    let report = store.report("b").await.unwrap().unwrap();
    assert_eq!((report.id.as_str(), report.source), ("b", source("rosa")));
    assert_eq!(
        (report.consumer_name, report.version),
        (name("c1"), version(1))
    );
    assert_eq!(
        report.sequence_id,
        Some(SequenceId::from_parts(at(100), 1, 9))
    );
    assert_eq!(report.status_hash.as_deref(), Some("hash-9"));
    assert_eq!(report.metadata, bundle("b", "c1").metadata);
    assert_eq!(report.content, Some(content("one")));
    assert_eq!(report.payload.as_str(), "{\"conditions\":[]}");
    assert_eq!((report.at, report.gone), (at(100), false));
    // The version that the status describes, beside what is there now.
    let report = store.report("c").await.unwrap().unwrap();
    assert_eq!(
        (report.version, report.content),
        (version(1), Some(content("two")))
    );
    for unknown in ["none", "\0"] {
        assert_eq!(store.report(unknown).await.unwrap(), None);
    }
}

pub(crate) async fn a_bundle_that_goes_leaves_its_last_report_until_it_is_forgotten(
    store: impl Store,
) {
    with_consumers(&store, &["c1"]).await;
    for id in ["a", "b"] {
        let mut new = bundle(id, "c1");
        new.source = source("rosa");
        store.create_bundle(new, at(1)).await.unwrap();
        store.apply_status(status(id, "c1", 1, 1)).await.unwrap();
    }
    store.mark_deleting("a", at(2)).await.unwrap();
    let end = store.reports_end().await.unwrap();
    let mut deleted = status("a", "c1", 1, 2);
    (deleted.deleted, deleted.at) = (true, at(200));
    deleted.payload =
        Json::parse("{\"conditions\":[{\"type\":\"Deleted\",\"status\":\"True\"}]}").unwrap();
    let outcome = store.apply_status(deleted.clone()).await.unwrap();
    assert_eq!(outcome, StatusOutcome::Deleted);
    let (seen, next) = reported(&store, end).await;
    assert_eq!(seen, ["-a"]);
    let report = store.report("a").await.unwrap().unwrap();
    assert!(report.gone);
    assert_eq!((report.source, report.at), (source("rosa"), at(200)));
    assert_eq!(report.sequence_id, Some(deleted.sequence_id));
    assert_eq!(report.status_hash, deleted.status_hash);
    assert_eq!(
        (report.metadata, report.payload),
        (bundle("a", "c1").metadata, deleted.payload.clone())
    );
    assert_eq!(
        (report.content, report.version),
        (Some(content("one")), version(1))
    );
    // A late word of it is no news.
    store.apply_status(deleted.clone()).await.unwrap();
    assert!(reported(&store, next.clone()).await.0.is_empty());

    assert_eq!(since(&store, "rosa", 0, 9).await, ["b", "-a"]);
    assert_eq!(since(&store, "rosa", 100, 1).await, ["b", "-a"]);
    assert_eq!(since(&store, "rosa", 101, 9).await, ["-a"]);
    assert_eq!(since(&store, "rosa", 201, 9).await, [""; 0]);
    assert_eq!(since(&store, "maestro", 0, 9).await, [""; 0]);

    // Of what is made anew under its id the earlier one says nothing.
    store
        .create_bundle(bundle("a", "c1"), at(300))
        .await
        .unwrap();
    assert_eq!(store.report("a").await.unwrap(), None);
    store.mark_deleting("a", at(301)).await.unwrap();
    let mut again = deleted;
    again.sequence_id = SequenceId::from_parts(at(400), 1, 1);
    again.at = at(400);
    store.apply_status(again).await.unwrap();
    assert_eq!(store.report("a").await.unwrap().unwrap().at, at(400));
    assert_eq!(reported(&store, next.clone()).await.0, ["-a"]);

    let micro = SignedDuration::from_micros(1);
    let forget = async |now| store.prune_reports(now - REPORTS_KEPT).await.unwrap();
    assert_eq!(forget(at(200) + REPORTS_KEPT).await, 0);
    assert_eq!(forget(at(200) + REPORTS_KEPT + micro).await, 1);
    assert!(store.report("a").await.unwrap().is_some());
    assert_eq!(forget(at(400) + REPORTS_KEPT + micro).await, 1);
    assert_eq!(store.report("a").await.unwrap(), None);
    // What comes now comes behind all that was forgotten.
    let (seen, next) = reported(&store, next).await;
    assert!(seen.is_empty(), "{seen:?}");
    store.apply_status(status("b", "c1", 1, 7)).await.unwrap();
    assert_eq!(reported(&store, next).await.0, ["b"]);
}

pub(crate) async fn bundles_that_go_with_their_consumer_say_that_nobody_confirmed_it(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2"]).await;
    for (id, consumer) in [("a", "c1"), ("b", "c1"), ("c", "c1"), ("kept", "c2")] {
        store
            .create_bundle(bundle(id, consumer), at(1))
            .await
            .unwrap();
    }
    store.apply_status(status("a", "c1", 1, 1)).await.unwrap();
    store
        .apply_status(status("kept", "c2", 1, 1))
        .await
        .unwrap();
    store.mark_deleting("b", at(2)).await.unwrap();
    let end = store.reports_end().await.unwrap();
    store.remove_consumer("id-c1", None, at(500)).await.unwrap();
    let (seen, next) = reported(&store, end).await;
    assert_eq!(seen, ["-a", "-b", "-c"]);
    for id in ["a", "b", "c"] {
        let report = store.report(id).await.unwrap().unwrap();
        assert!(report.gone);
        assert_eq!((report.at, report.version), (at(500), version(1)));
        assert_eq!(report.sequence_id.is_some(), id == "a");
        assert_eq!(report.content, Some(content("one")));
        let told = report.payload.to_value();
        let condition = &told["conditions"][0];
        assert_eq!(condition["type"], "Deleted");
        assert_eq!(condition["status"], "True");
        assert_eq!(condition["reason"], "ConsumerRemoved");
        assert!(
            condition["message"]
                .as_str()
                .unwrap()
                .contains("may remain"),
            "{told}"
        );
    }
    store
        .apply_status(status("kept", "c2", 1, 2))
        .await
        .unwrap();
    assert_eq!(reported(&store, next).await.0, ["kept"]);
    assert_eq!(store.prune_reports(at(501)).await.unwrap(), 3);
}

pub(crate) async fn a_raised_version_keeps_the_report_that_is_there(store: impl Store) {
    with_consumers(&store, &["c1"]).await;
    store.create_bundle(bundle("b", "c1"), at(1)).await.unwrap();
    let end = store.reports_end().await.unwrap();
    // The agent tells of a version that this store has lost.
    let ahead = store.apply_status(status("b", "c1", 7, 1)).await.unwrap();
    assert!(matches!(ahead, StatusOutcome::Ahead { .. }));
    let (seen, next) = reported(&store, end).await;
    assert_eq!(seen, ["b"]);
    let before = store.report("b").await.unwrap().unwrap();
    assert_eq!(before.version, version(7));
    let held = vec![AgentVersion {
        id: "b".into(),
        version: version(7),
    }];
    store.raise(&name("c1"), held, at(200)).await.unwrap();
    let shown = store.get_bundle("b").await.unwrap().unwrap();
    assert_eq!(shown.version, version(8));
    assert_eq!(store.report("b").await.unwrap(), Some(before));
    assert!(reported(&store, next).await.0.is_empty());
}

pub(crate) async fn a_reader_misses_nothing_that_many_write_at_once(store: impl Store) {
    const BUNDLES: u16 = 12;
    const STEPS: u16 = 15;
    with_consumers(&store, &["c1"]).await;
    for number in 0..BUNDLES {
        let new = bundle(&format!("b{number}"), "c1");
        store.create_bundle(new, at(1)).await.unwrap();
    }
    let mut after = store.reports_end().await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..BUNDLES {
        let store = store.clone();
        writers.spawn(async move {
            for step in 1..=STEPS {
                let mut update = status(&format!("b{number}"), "c1", 1, step);
                update.at = at(100 + i64::from(step));
                store.apply_status(update).await.unwrap();
            }
        });
    }
    let last: BTreeSet<String> = (0..BUNDLES).map(|number| format!("b{number}")).collect();
    let mut told = BTreeSet::new();
    loop {
        let done = writers.is_empty();
        let part = store.reports_after(after, 5).await.unwrap();
        after = part.next;
        for head in part.heads {
            if head.at == at(100 + i64::from(STEPS)) {
                assert!(told.insert(head.id.clone()), "{} twice", head.id);
            }
        }
        if done && !part.more {
            break;
        }
        while let Some(written) = writers.try_join_next() {
            written.unwrap();
        }
    }
    assert_eq!(told, last);
}
