//! The same may be imported again; what is newer here stays.

use jiff::Timestamp;
use link::order::{SequenceId, Version};
use server_bridge::import::Report;
use server_bridge::store::{Json, StatusOutcome, StatusUpdate, Store as _};

use crate::maestro::{ENGINES, Maestro};
use crate::{open, pending};

fn reason<'r>(report: &'r Report, id: &str) -> &'r str {
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
        assert!(reason(&report, "00000001").contains("above"), "{report:?}");
        assert!(
            reason(&report, "00000002").contains("being deleted"),
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
            reason(&report, "0000000c").contains("was deleted"),
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
