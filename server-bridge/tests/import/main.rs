//! What Maestro's database holds is taken over as a whole or not at all: agents get nothing again that they hold, statuses
//! keep their order, and nothing is overwritten that is newer here.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use link::supervise::Restarts;
use server_bridge::store::{
    AgentVersion, AnyStore, Json, Location, StatusOutcome, StatusUpdate, Store as _,
};

mod interrupted;
mod maestro;
mod proxy;
mod refused;
mod repeated;

use maestro::{ENGINES, Maestro};

async fn open(location: &Location) -> AnyStore {
    let opened = location.clone().open(Restarts::unregistered()).await;
    opened.unwrap()
}

fn consumers() -> Vec<ConsumerName> {
    let names = (0..10).map(|number| ConsumerName::new(format!("cluster{number}")).unwrap());
    names.collect()
}

/// The bundles that need sending.
async fn pending(store: &AnyStore) -> BTreeSet<String> {
    let mut pending = BTreeSet::new();
    for consumer in consumers() {
        let heads = store.pending_heads(&consumer, 1_000_000).await.unwrap();
        pending.extend(heads.into_iter().map(|head| head.id));
    }
    pending
}

/// Bundles whose version no status shows with their agents, or that are being deleted.
const UNSENT: &str = "SELECT id FROM resources WHERE deleted_at IS NOT NULL OR status IS NULL OR status = 'null' \
    OR (status->>'resourceversion')::bigint <> version";

#[tokio::test]
async fn what_agents_have_reported_on_is_sent_to_nobody_again_and_all_rest_is() {
    for engine in ENGINES {
        let maestro = Maestro::filled(2000);
        let report = maestro.import(engine).run().await.unwrap();
        assert!(
            report.written && report.left_out.is_empty() && report.remarks.is_empty(),
            "{report:?}"
        );
        let bundles = &report.bundles;
        assert_eq!(
            (bundles.found, bundles.added, bundles.present),
            (2000, 2000, 0)
        );
        assert_eq!(
            (bundles.confirmed, bundles.unsent, bundles.deleting),
            (1500, 400, 100)
        );
        assert_eq!((bundles.without_status, report.answers), (200, 1800));
        assert_eq!((report.consumers.found, report.consumers.added), (10, 10));
        assert_eq!(report.client_ids, ["maestro-0"]);
        assert_eq!(
            report.sources,
            BTreeMap::from([("source0".into(), 1000), ("source1".into(), 1000)])
        );
        let last = maestro
            .sql("SELECT (extract(epoch FROM MAX(updated_at)) * 1000000)::bigint FROM resources");
        assert_eq!(
            report.last_change.unwrap().as_microsecond().to_string(),
            last
        );

        let store = open(&maestro.store(engine)).await;
        let unsent: BTreeSet<String> = maestro.lines(UNSENT).into_iter().collect();
        assert_eq!(unsent.len(), 500);
        assert_eq!(pending(&store).await, unsent, "{engine}");

        // What the status resync asks with is what agents hold.
        let told =
            maestro.lines("SELECT id || ' ' || COALESCE(status->>'statushash', '') FROM resources");
        let told: BTreeSet<String> = told.into_iter().collect();
        let mut asked = BTreeSet::new();
        for consumer in consumers() {
            for (id, hash) in store.status_hashes_of(&consumer).await.unwrap() {
                asked.insert(format!("{id} {}", hash.unwrap_or_default()));
            }
        }
        assert_eq!(asked, told, "{engine}");

        // Agents that list what they hold get nothing for it.
        for consumer in consumers() {
            let held = maestro.lines(&format!(
                "SELECT id || ' ' || version FROM resources WHERE consumer_name = '{consumer}' AND deleted_at IS NULL \
                 AND (status->>'resourceversion')::bigint = version"
            ));
            let held = held.iter().map(|line| {
                let (id, version) = line.split_once(' ').unwrap();
                AgentVersion {
                    id: id.into(),
                    version: Version::parse(version).unwrap(),
                }
            });
            let again = store
                .request_resend(&consumer, held.collect())
                .await
                .unwrap();
            assert_eq!(again, 0, "{engine} {consumer}");
        }
        assert_eq!(store.history().await.unwrap().unconfirmed, 0, "{engine}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_bundle_is_kept_to_the_letter_and_its_statuses_stay_in_order() {
    for engine in ENGINES {
        let maestro = Maestro::filled(40);
        maestro.import(engine).run().await.unwrap();
        let store = open(&maestro.store(engine)).await;
        let consumer = store
            .get_consumer("c0000000-0000-4000-8000-000000000002")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(consumer.name.as_str(), "cluster2");
        assert_eq!(
            consumer.labels,
            BTreeMap::from([("region".into(), "r2".into())])
        );
        let plain = store
            .get_consumer("c0000000-0000-4000-8000-000000000001")
            .await
            .unwrap()
            .unwrap();
        assert!(plain.labels.is_empty());

        let id = "00000001-0000-4000-8000-000000000000";
        let bundle = store.get_bundle(id).await.unwrap().unwrap();
        assert_eq!(
            (bundle.name.as_str(), bundle.source.as_str()),
            ("name-1", "source1")
        );
        assert_eq!(
            (bundle.consumer_name.as_str(), bundle.version.get()),
            ("cluster1", 3)
        );
        let made: Timestamp = "2026-11-01T09:00:01.000001Z".parse().unwrap();
        assert_eq!(bundle.created_at, made);
        assert_eq!(
            bundle.metadata.unwrap().as_str(),
            r#"{"labels":{"app.kubernetes.io/name":"w1"},"name":"work1","namespace":"cluster1"}"#
        );
        let content = bundle.content.unwrap();
        let manifests = content.manifests.as_str();
        assert!(
            manifests
                .contains(r#""numbers":[1.0,2.50,12345678901234567890123,1000000000000000000000]"#)
                && manifests.contains(r#""html":"<a&b>""#)
                && manifests.starts_with(r#"[{"apiVersion":"v1","data":{"filler":"#),
            "{manifests}"
        );
        assert_eq!(
            content.executer.unwrap().as_str(),
            r#"{"subject":{"serviceAccount":{"name":"s","namespace":"n"},"type":"ServiceAccount"}}"#
        );
        let event = maestro.sql(&format!(
            "SELECT payload->>'id' FROM resources WHERE id = '{id}'"
        ));
        assert_eq!(
            bundle.origin.unwrap().to_value(),
            serde_json::json!({"id": event, "time": "2026-11-01T10:00:00.123456789Z",
                "extensions": {"logtracing": "{\"logging.open-cluster-management.io/op-id\":\"op\"}"}})
        );
        let ledger = bundle.ledger.unwrap();
        assert_eq!(ledger.len(), 1);
        assert_eq!(ledger[0].note.as_deref(), Some("imported from Maestro"));
        assert!(
            ledger[0].acked_at.is_some()
                && ledger[0].applied_at.is_some()
                && ledger[0].attempts == 1
        );

        let status = bundle.status.unwrap();
        let kept = status.sequence_id.unwrap();
        assert_eq!(status.version.get(), 3);
        let update = |sequence_id: SequenceId, text: &str| StatusUpdate {
            bundle_id: id.into(),
            consumer: bundle.consumer_name.clone(),
            version: status.version,
            sequence_id,
            status_hash: Some("h".into()),
            payload: Json::parse(text).unwrap(),
            metadata: None,
            deleted: false,
            received_at: None,
            applied_at: None,
            at: made + jiff::SignedDuration::from_hours(2),
        };
        for again in [
            kept,
            SequenceId::from_parts(made - jiff::SignedDuration::from_secs(1), 1, 0),
        ] {
            let outcome = store.apply_status(update(again, "{}")).await.unwrap();
            assert_eq!(
                outcome,
                StatusOutcome::StaleSequence { stored: kept },
                "{engine}"
            );
        }
        let newer = SequenceId::from_parts(made + jiff::SignedDuration::from_secs(1), 1, 0);
        let outcome = store
            .apply_status(update(newer, "{\"conditions\":[]}"))
            .await
            .unwrap();
        assert_eq!(outcome, StatusOutcome::Stored, "{engine}");

        // A bundle that is being deleted is sent as that, and new ones come after those that were imported.
        let deleting = store
            .pending(
                &"cluster7".parse().unwrap(),
                vec!["00000007-0000-4000-8000-000000000000".into()],
            )
            .await
            .unwrap();
        assert!(deleting[0].deleting_since.is_some() && deleting[0].payload.is_empty());
        store.mark_deleting(id, made).await.unwrap();
        let told = store.apply_status(StatusUpdate {
            deleted: true,
            sequence_id: SequenceId::from_parts(made + jiff::SignedDuration::from_secs(2), 1, 0),
            ..update(newer, "{}")
        });
        assert_eq!(told.await.unwrap(), StatusOutcome::Deleted, "{engine}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    for engine in ENGINES {
        let maestro = Maestro::filled(100);
        let mut dry = maestro.import(engine);
        dry.dry_run = true;
        let told = dry.clone().run().await.unwrap();
        assert!(!maestro.has_store(engine), "{engine}");
        let mut done = maestro.import(engine).run().await.unwrap();
        (done.dry_run, done.read_at) = (true, told.read_at);
        done.to.clone_from(&told.to);
        assert_eq!(told, done, "{engine}");
        let text = told.text();
        assert!(
            text.contains("100 found, 100 would be added") && text.ends_with("a dry run"),
            "{text}"
        );
        // On a store that is there it tells what is there.
        let again = dry.run().await.unwrap();
        assert_eq!(
            (again.bundles.present, again.bundles.added),
            (100, 0),
            "{engine}"
        );
    }
}
