//! The same may be imported again; what is newer here stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use link::clock::Clock;
use link::order::{SequenceId, Version};
use server_bridge::import::ImportReport;
use server_bridge::store::{Json, ReportStore as _, StatusOutcome, StatusUpdate, Store as _};

use crate::maestro::{ENGINES, Maestro};
use crate::{open, pending};

fn reason<'r>(report: &'r ImportReport, id: &str) -> &'r str {
    let found = report.left_out.iter().find(|item| item.id.starts_with(id));
    found.map_or("it is not left out", |item| item.reason.as_str())
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    for engine in ENGINES {
        let maestro = Maestro::filled(100);
        maestro.import(engine).run().await.unwrap();
        let store = open(&maestro.store(engine)).await;
        let before = pending(&store).await;
        store.close().await;
        let report = maestro.import(engine).run().await.unwrap();
        assert!(report.written && report.left_out.is_empty());
        let bundles = &report.bundles;
        assert_eq!(
            (bundles.present, bundles.added, bundles.replaced),
            (100, 0, 0)
        );
        assert_eq!((report.consumers.present, report.consumers.added), (10, 0));
        let store = open(&maestro.store(engine)).await;
        assert_eq!(pending(&store).await, before);
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_newer_here_stays_and_what_is_newer_there_takes_its_place() {
    for engine in ENGINES {
        let maestro = Maestro::filled(40);
        maestro.import(engine).run().await.unwrap();
        let id = |number: u32| format!("{number:08x}-0000-4000-8000-000000000000");
        let now: Timestamp = "2026-11-02T09:00:00Z".parse().unwrap();
        let store = open(&maestro.store(engine)).await;
        let bundle = store.get_bundle(&id(1)).await.unwrap().unwrap();
        let mut content = bundle.content.unwrap();
        content.manifests = Json::parse("[{\"changed\":true}]").unwrap();
        let first = id(1);
        let changed = store.update_bundle(&first, None, None, content, None, now);
        let changed = changed.await.unwrap().version;
        assert_eq!(
            changed.get(),
            bundle.version.get() + 1,
            "no agent is said to hold more"
        );
        store.mark_deleting(&id(2), now).await.unwrap();
        // One is gone.
        store.mark_deleting(&id(12), now).await.unwrap();
        let gone = store.apply_status(StatusUpdate {
            bundle_id: id(12),
            consumer: "cluster2".parse().unwrap(),
            version: Version::new(2).unwrap(),
            sequence_id: SequenceId::from_parts(now, 1, 0),
            status_hash: None,
            payload: Json::parse("{}").unwrap(),
            metadata: None,
            deleted: true,
            received_at: None,
            applied_at: None,
            at: now,
        });
        assert_eq!(gone.await.unwrap(), StatusOutcome::Deleted);
        store.close().await;
        // Maestro went on with others: it changed one, asked for the deletion of one, and lost one.
        maestro.sql(&format!(
            "UPDATE resources SET version = version + 1, payload = jsonb_set(payload, '{{data,manifests,0,kind}}', '\"New\"') \
             WHERE id = '{}'; UPDATE resources SET deleted_at = now() WHERE id = '{}'; DELETE FROM resources WHERE id = '{}'; \
             UPDATE resources SET payload = jsonb_set(payload, '{{data,manifests,0,kind}}', '\"Odd\"') WHERE id = '{}'",
            id(8), id(9), id(10), id(11)
        ));
        let report = maestro.import(engine).run().await.unwrap();
        assert!(!report.written);
        // docs/MIGRATING.md reads these words.
        let changed_here = format!("here it has version {changed} already");
        assert!(
            reason(&report, "00000001").starts_with(&changed_here),
            "{report:?}"
        );
        assert!(
            reason(&report, "00000002").starts_with("here it is being deleted"),
            "{report:?}"
        );
        assert!(
            reason(&report, "0000000a").contains("has it no more"),
            "{report:?}"
        );
        assert!(
            reason(&report, "0000000b").contains("is another one"),
            "{report:?}"
        );
        assert!(
            reason(&report, "0000000c").starts_with("here its version 2 was deleted"),
            "{report:?}"
        );
        assert_eq!((report.left_out.len(), report.bundles.replaced), (5, 2));
        let kind = async || {
            let store = open(&maestro.store(engine)).await;
            let eighth = store.get_bundle(&id(8)).await.unwrap().unwrap();
            let first = store.get_bundle(&id(1)).await.unwrap().unwrap();
            let pending = pending(&store).await;
            store.close().await;
            let text = eighth.content.unwrap().manifests.to_string();
            assert_eq!(first.version, changed);
            (
                text.contains("New"),
                pending.contains(&id(8)),
                pending.contains(&id(9)),
            )
        };
        assert_eq!(
            kind().await,
            (false, false, false),
            "{engine}: nothing was written"
        );
        let mut import = maestro.import(engine);
        import.skip_unusable = true;
        assert!(import.run().await.unwrap().written);
        assert_eq!(kind().await, (true, true, true), "{engine}");
    }
}

#[tokio::test]
async fn a_store_with_bundles_of_its_own_keeps_them() {
    for engine in ENGINES {
        let maestro = Maestro::filled(20);
        maestro.import(engine).run().await.unwrap();
        maestro.sql("DELETE FROM resources");
        let store = open(&maestro.store(engine)).await;
        assert_eq!(store.consumer_names().await.unwrap().len(), 10);
        for consumer in crate::consumers() {
            let all = store.versions_of(&consumer).await.unwrap();
            for bundle in all {
                store
                    .mark_deleting(&bundle.id, bundle.created_at)
                    .await
                    .unwrap();
            }
        }
        store.close().await;
        // What is being deleted here needs no decision.
        let report = maestro.import(engine).run().await.unwrap();
        assert!(report.written, "{report:?}");
        assert_eq!((report.bundles.found, report.only_here.len()), (0, 20));
    }
}

#[tokio::test]
async fn what_agents_have_reported_since_is_taken_over_and_an_older_report_is_not() {
    for engine in ENGINES {
        let maestro = Maestro::filled(20);
        maestro.import(engine).run().await.unwrap();
        let id = |number: u32| format!("{number:08x}-0000-4000-8000-000000000000");
        let later: Timestamp = "2026-11-02T09:00:00Z".parse().unwrap();
        let told = |number: u32, version: i64, hours: i64| StatusUpdate {
            bundle_id: id(number),
            consumer: format!("cluster{number}").parse().unwrap(),
            version: Version::new(version).unwrap(),
            sequence_id: SequenceId::from_parts(
                later + jiff::SignedDuration::from_hours(hours),
                1,
                0,
            ),
            status_hash: None,
            payload: Json::parse("{\"conditions\":[]}").unwrap(),
            metadata: None,
            deleted: false,
            received_at: None,
            applied_at: None,
            at: later,
        };
        let store = open(&maestro.store(engine)).await;
        let unsent = pending(&store).await;
        assert!(unsent.contains(&id(3)) && unsent.contains(&id(4)));
        // Here one is told of that Maestro hears of as well, but earlier.
        let newest = told(2, 4, 9);
        let newest_sequence = newest.sequence_id;
        let outcome = store.apply_status(newest).await.unwrap();
        assert_eq!(outcome, StatusOutcome::Stored);
        store.close().await;
        // Maestro ran on: agents reported on two for the first time, and on two once more.
        let sequence = |number: u32| told(number, 1, 1).sequence_id.to_string();
        for (to, from) in [(3, 8), (4, 8), (1, 1), (2, 2)] {
            maestro.sql(&format!(
                "UPDATE resources r SET updated_at = now(), status = f.status || jsonb_build_object('resourceid', r.id, \
                 'clustername', r.consumer_name, 'source', r.consumer_name || '-work-agent', \
                 'resourceversion', r.version::text, 'sequenceid', '{}') FROM resources f \
                 WHERE r.id = '{}' AND f.id = '{}'",
                sequence(to), id(to), id(from)
            ));
        }
        let mut dry = maestro.import(engine);
        dry.dry_run = true;
        let planned = dry.run().await.unwrap();
        let report = maestro.import(engine).run().await.unwrap();
        assert!(report.written && report.left_out.is_empty(), "{report:?}");
        assert_eq!(planned.bundles, report.bundles);
        let bundles = &report.bundles;
        assert_eq!(
            (bundles.replaced, bundles.present, bundles.confirmed),
            (3, 17, 3),
            "{engine}"
        );
        let store = open(&maestro.store(engine)).await;
        let mut expected = unsent;
        expected.retain(|one| *one != id(3) && *one != id(4));
        assert_eq!(pending(&store).await, expected, "{engine}");
        for number in [1, 2, 3, 4] {
            let bundle = store.get_bundle(&id(number)).await.unwrap().unwrap();
            let kept = bundle.status.unwrap().sequence_id.unwrap();
            if number == 2 {
                assert_eq!(kept, newest_sequence, "{engine}");
            } else {
                assert_eq!(kept.to_string(), sequence(number), "{engine} {number}");
            }
        }
        store.close().await;
        let report = maestro.import(engine).run().await.unwrap();
        assert_eq!((report.bundles.present, report.bundles.replaced), (20, 0));
    }
}

/// What an agent says of the deletion of a bundle.
fn deleted(id: &str, consumer: &str, version: i64, at: Timestamp) -> StatusUpdate {
    StatusUpdate {
        bundle_id: id.into(),
        consumer: consumer.parse().unwrap(),
        version: Version::new(version).unwrap(),
        sequence_id: SequenceId::from_parts(at, 1, 0),
        status_hash: None,
        payload: Json::parse("{}").unwrap(),
        metadata: None,
        deleted: true,
        received_at: None,
        applied_at: None,
        at,
    }
}

#[tokio::test]
async fn a_deletion_that_has_ended_here_is_no_obstacle_and_what_comes_after_it_can_go_as_well() {
    for engine in ENGINES {
        let maestro = Maestro::filled(8);
        maestro.import(engine).run().await.unwrap();
        let id = |number: u32| format!("{number:08x}-0000-4000-8000-000000000000");
        let now: Timestamp = "2026-11-02T09:00:00Z".parse().unwrap();
        // The one that was to be deleted when Maestro stopped is the newest of all.
        let store = open(&maestro.store(engine)).await;
        let gone = store.apply_status(deleted(&id(7), "cluster7", 5, now));
        assert_eq!(gone.await.unwrap(), StatusOutcome::Deleted, "{engine}");
        store.close().await;
        maestro.sql(&format!(
            "INSERT INTO resources SELECT '{new}', created_at, updated_at, NULL, source, consumer_name, version, type, \
             payload || '{{\"resourceid\": \"{new}\"}}', NULL, 'new' FROM resources WHERE id = '{old}'",
            new = id(100),
            old = id(7)
        ));
        let report = maestro.import(engine).run().await.unwrap();
        assert!(report.written && report.left_out.is_empty(), "{report:?}");
        assert_eq!((report.bundles.present, report.bundles.added), (8, 1));
        let store = open(&maestro.store(engine)).await;
        assert!(store.get_bundle(&id(7)).await.unwrap().is_none());
        // Its last report is kept meanwhile, and so is that of the new one.
        store.mark_deleting(&id(100), now).await.unwrap();
        let gone = store.apply_status(deleted(&id(100), "cluster7", 5, now));
        assert_eq!(gone.await.unwrap(), StatusOutcome::Deleted, "{engine}");
        for number in [7, 100] {
            assert!(
                store.report(&id(number)).await.unwrap().unwrap().gone,
                "{engine}"
            );
        }
        store.close().await;
    }
}

#[tokio::test]
async fn a_newer_version_takes_the_place_of_an_older_one_and_its_older_status_does_not() {
    for engine in ENGINES {
        let maestro = Maestro::filled(10);
        maestro.import(engine).run().await.unwrap();
        let id = |number: u32| format!("{number:08x}-0000-4000-8000-000000000000");
        let now: Timestamp = "2026-11-02T09:00:00Z".parse().unwrap();
        let store = open(&maestro.store(engine)).await;
        // One that Maestro has a status of, and one that it has none of.
        let mut newest = Vec::new();
        for (number, version) in [(8, 2), (3, 5)] {
            let told = StatusUpdate {
                deleted: false,
                status_hash: Some("h".into()),
                payload: Json::parse("{\"conditions\":[]}").unwrap(),
                ..deleted(&id(number), &format!("cluster{number}"), version, now)
            };
            newest.push((number, told.sequence_id));
            assert_eq!(
                store.apply_status(told).await.unwrap(),
                StatusOutcome::Stored
            );
        }
        store.close().await;
        maestro.sql(&format!(
            "UPDATE resources SET version = version + 1 WHERE id IN ('{}', '{}')",
            id(8),
            id(3)
        ));
        let report = maestro.import(engine).run().await.unwrap();
        assert_eq!((report.bundles.replaced, report.bundles.unsent), (2, 2));
        let store = open(&maestro.store(engine)).await;
        for (number, sequence) in newest {
            let bundle = store.get_bundle(&id(number)).await.unwrap().unwrap();
            let status = bundle.status.unwrap();
            assert_eq!(status.sequence_id, Some(sequence), "{engine}");
            assert_eq!(status.version.get() + 1, bundle.version.get());
            assert_eq!(status.payload.as_str(), "{\"conditions\":[]}");
        }
        let unsent = pending(&store).await;
        assert!(unsent.contains(&id(8)) && unsent.contains(&id(3)));
        store.close().await;
    }
}

#[tokio::test]
async fn labels_follow_maestro_until_they_are_changed_here() {
    for engine in ENGINES {
        let maestro = Maestro::filled(0);
        maestro.import(engine).run().await.unwrap();
        let id = |number: u32| format!("c0000000-0000-4000-8000-{number:012}");
        let labels = |value: &str| BTreeMap::from([("region".to_owned(), value.to_owned())]);
        let store = open(&maestro.store(engine)).await;
        let fifth = id(5);
        let now = Clock::system().now();
        let set = store.update_consumer_labels(&fifth, labels("here"), now);
        set.await.unwrap();
        store.close().await;
        maestro.sql(&format!(
            "UPDATE consumers SET labels = '{{\"region\":\"there\"}}', updated_at = now() - interval '1 day' \
             WHERE id IN ('{}', '{}')",
            id(2), id(5)
        ));
        let report = maestro.import(engine).run().await.unwrap();
        let consumers = &report.consumers;
        assert_eq!(
            (consumers.relabelled, consumers.present),
            (1, 9),
            "{engine}"
        );
        assert_eq!(report.remarks.len(), 1, "{report:?}");
        assert!(
            report.remarks[0].id == id(5) && report.remarks[0].reason.contains("stay"),
            "{report:?}"
        );
        let store = open(&maestro.store(engine)).await;
        for (number, value) in [(2, "there"), (5, "here")] {
            let consumer = store.get_consumer(&id(number)).await.unwrap().unwrap();
            assert_eq!(consumer.labels, labels(value), "{engine}");
        }
        store.close().await;
        let report = maestro.import(engine).run().await.unwrap();
        assert_eq!((report.consumers.relabelled, report.remarks.len()), (0, 1));
    }
}
