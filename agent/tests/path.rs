//! The agent's whole data path without a broker: spec events in, files and status events out.

// Long because one fake link serves every promise of the path.

use std::collections::BTreeSet;
use std::time::Duration;

use agent::work::WorkId;
use jiff::Timestamp;
use link::bundle::resync::{HeldStatus, SpecRequest, StatusRequest};
use link::event::{Action, Event, Kind, SubResource};
use link::order::Version;
use proptest::prelude::*;
use serde_json::{Value, json};

#[expect(
    clippy::unwrap_used,
    reason = "a harness that cannot go on fails its test"
)]
#[path = "path/harness.rs"]
mod harness;

#[expect(
    clippy::unwrap_used,
    reason = "a harness that cannot go on fails its test"
)]
#[path = "path/faults.rs"]
mod faults;

#[path = "path/troubles.rs"]
mod troubles;

#[path = "path/listeners.rs"]
mod listeners;

#[expect(
    clippy::unwrap_used,
    reason = "a report that cannot be read fails its test"
)]
#[path = "path/reports.rs"]
mod reports;

use harness::{Harness, config_map, consumer, delete, upsert};

#[tokio::test]
async fn a_bundle_is_applied_and_its_status_reported_with_everything_a_source_needs() {
    let mut agent = Harness::start().await;
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    let status = agent
        .status("w", |status| status.condition("Available").is_some())
        .await;
    assert!(
        status
            .1
            .conditions
            .iter()
            .all(link::bundle::Condition::is_true)
    );
    let event = status.0;
    assert_eq!(event.kind, Kind::status(Action::Update));
    assert_eq!(event.source, "cluster1-work-agent");
    assert_eq!(event.original_source.as_deref(), Some("maestro"));
    assert_eq!(event.resource_version, Version::new(1));
    assert_eq!(
        event.status_hash.as_deref(),
        Some(link::bundle::status_hash(&status.1).as_str())
    );
    assert_eq!(
        agent.files(),
        [("d/configmap/a.yaml".into(), config_map("a", "1"))]
    );
    agent.stop().await;
}

#[tokio::test]
async fn after_every_subscription_the_agent_says_what_it_holds() {
    let mut agent = Harness::start().await;
    let request = agent.resync_request().await;
    assert_eq!(request.data_bytes(), br#"{"resourceVersions":[]}"#);
    assert_eq!(request.original_source.as_deref(), Some(""));
    assert!(request.extensions.is_empty());
    agent.send(upsert("w", 4, &[config_map("a", "1")])).await;
    agent.status("w", |_| true).await;
    agent.reconnect();
    let request = agent.resync_request().await;
    assert_eq!(
        request.data_bytes(),
        br#"{"resourceVersions":[{"resourceID":"w","resourceVersion":4}]}"#
    );
    agent.stop().await;
}

#[tokio::test]
async fn a_long_list_is_asked_for_in_marked_parts_below_the_broker_s_limit() {
    let mut agent = Harness::start().await;
    agent.resync_request().await;
    let long = "x".repeat(400);
    let ids: BTreeSet<String> = (0..600).map(|index| format!("{long}-{index}")).collect();
    for id in &ids {
        agent
            .send(upsert(id, 7, &[config_map("shared", "1")]))
            .await;
    }
    agent.offline();
    agent.until(|agent| agent.acks() == 600).await;
    agent.reconnect();
    let mut told = BTreeSet::new();
    let mut parts = Vec::new();
    while told.len() < ids.len() {
        let request = agent.resync_request().await;
        assert!(request.data_bytes().len() <= link::bundle::resync::PART_BYTES);
        let list: SpecRequest = serde_json::from_slice(request.data_bytes()).unwrap();
        told.extend(
            list.resource_versions
                .into_iter()
                .map(|held| held.resource_id),
        );
        parts.extend(request.extensions.get("resyncpart").cloned());
    }
    assert_eq!(told, ids);
    let expected: Vec<String> = (1..=parts.len())
        .map(|part| format!("{part}/{}", parts.len()))
        .collect();
    assert!(parts.len() > 1);
    assert_eq!(parts, expected);
    agent.stop().await;
}

#[tokio::test]
async fn a_deletion_is_acknowledged_even_for_a_work_the_agent_never_had() {
    let mut agent = Harness::start().await;
    for event in [delete("never", Some(3)), delete("unversioned", None)] {
        let id = event.resource_id.clone().unwrap();
        agent.send(event).await;
        let (event, status) = agent.status(&id, link::bundle::Status::is_deleted).await;
        assert!(event.deletion_timestamp.is_none());
        let deleted = status.condition("Deleted").unwrap();
        assert_eq!(
            deleted.message,
            "The manifests are deleted from the cluster cluster1"
        );
    }
    agent.until(|agent| agent.held().is_empty()).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_deleted_work_takes_its_files_along_and_leaves_only_when_that_was_acknowledged() {
    let mut agent = Harness::start().await;
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    agent.status("w", |_| true).await;
    agent.offline();
    agent.send(delete("w", Some(1))).await;
    agent.until(|agent| agent.files().is_empty()).await;
    assert_eq!(agent.held(), [WorkId::from("w")]);
    // A restart with the acknowledgement still pending: it follows.
    let mut agent = agent.restart().await;
    agent.status("w", link::bundle::Status::is_deleted).await;
    agent.until(|agent| agent.held().is_empty()).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_restart_offline_goes_on_with_what_was_ordered_and_reports_nothing_twice() {
    let mut agent = Harness::start().await;
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    agent.status("w", |_| true).await;
    agent.until(|agent| agent.acknowledged("w")).await;
    agent.offline();
    let path = agent.target().join("d/configmap/a.yaml");
    let agent = agent.halt().await;
    std::fs::remove_file(&path).unwrap();
    let mut agent = agent.resume(false).await;
    agent.until(|agent| agent.files().len() == 1).await;
    agent.reconnect();
    agent.resync_request().await;
    agent.send(upsert("w", 2, &[config_map("a", "2")])).await;
    let (event, _) = agent.status("w", |_| true).await;
    assert_eq!(
        event.resource_version,
        Version::new(2),
        "version 1 was told before"
    );
    agent.stop().await;
}

#[tokio::test]
async fn a_version_that_cannot_be_used_is_reported_and_the_last_good_one_stays() {
    let mut agent = Harness::start().await;
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    agent.status("w", |_| true).await;
    agent
        .send(upsert(
            "w",
            2,
            &[json!({"apiVersion": "v1", "kind": "X", "metadata": {}})],
        ))
        .await;
    let (event, status) = agent
        .status("w", |status| {
            status.condition("Applied").is_some_and(|c| !c.is_true())
        })
        .await;
    assert_eq!(event.resource_version, Version::new(2));
    assert_eq!(
        status.condition("Applied").unwrap().message,
        "Failed to apply manifest work: `manifests[0].metadata.name` is missing"
    );
    assert_eq!(agent.files().len(), 1);
    agent.send(upsert("w", 3, &[config_map("b", "1")])).await;
    agent
        .status("w", |status| {
            status
                .condition("Applied")
                .is_some_and(link::bundle::Condition::is_true)
        })
        .await;
    assert_eq!(
        agent.files(),
        [("d/configmap/b.yaml".into(), config_map("b", "1"))]
    );
    agent.stop().await;
}

#[tokio::test]
async fn one_bad_manifest_does_not_stop_the_rest() {
    let mut agent = Harness::start().await;
    agent
        .send(upsert("first", 1, &[config_map("a", "1")]))
        .await;
    agent.status("first", |_| true).await;
    let manifests = [config_map("a", "2"), config_map("b", "1")];
    agent.send(upsert("second", 1, &manifests)).await;
    let (_, status) = agent.status("second", |_| true).await;
    assert_eq!(
        status.condition("Applied").unwrap().reason,
        "AppliedManifestWorkFailed"
    );
    let applied: Vec<bool> = status
        .resource_status
        .iter()
        .map(|manifest| manifest.conditions[0].is_true())
        .collect();
    assert_eq!(applied, [false, true]);
    assert!(
        status.resource_status[0].conditions[0]
            .message
            .contains("held by work `first`")
    );
    // The loser takes over without being told by anybody.
    agent.send(delete("first", Some(1))).await;
    agent
        .status("second", |status| {
            status
                .condition("Applied")
                .is_some_and(link::bundle::Condition::is_true)
        })
        .await;
    assert_eq!(agent.files()[0].1, config_map("a", "2"));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_just_subscribed_is_told_again_what_is_held() {
    let mut agent = Harness::start().await;
    agent.resync_request().await;
    let mut answering = Event::new(
        "maestro",
        Kind::status(Action::ResyncRequest),
        &consumer(),
        Timestamp::UNIX_EPOCH,
    )
    .with_data("{\"statusHashes\":[]}");
    let subscribed = answering.clone();
    // A request that answers ours asks for nothing more: of these three only the second is answered with a list.
    answering
        .extensions
        .insert("resyncanswer".into(), "true".into());
    agent.send(answering.clone()).await;
    agent.send(subscribed).await;
    agent.resync_request().await;
    agent.send(answering).await;
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    let event = agent.next().await;
    assert_eq!(event.kind.sub_resource, SubResource::Status, "{event:?}");
    agent.stop().await;
}

#[tokio::test]
async fn a_status_resync_request_is_answered_with_the_differing_statuses_only() {
    let mut agent = Harness::start().await;
    let mut hashes = Vec::new();
    for id in ["a", "b", "c"] {
        agent.send(upsert(id, 1, &[config_map(id, "1")])).await;
        let (event, _) = agent.status(id, |_| true).await;
        hashes.push((id, event.status_hash.unwrap()));
        agent.until(|agent| agent.acknowledged(id)).await;
    }
    let ask = |held: Vec<(&str, &str)>| {
        let request = StatusRequest {
            status_hashes: held
                .into_iter()
                .map(|(id, hash)| HeldStatus {
                    resource_id: id.into(),
                    status_hash: hash.into(),
                })
                .collect(),
        };
        Event::new(
            "maestro",
            Kind::status(Action::ResyncRequest),
            &consumer(),
            Timestamp::UNIX_EPOCH,
        )
        .with_data(serde_json::to_vec(&request).unwrap())
    };
    agent
        .send(ask(vec![
            ("a", hashes[0].1.as_str()),
            ("b", link::bundle::EMPTY_HASH),
            ("unknown", "x"),
        ]))
        .await;
    let (event, _) = agent.status("b", |_| true).await;
    assert_eq!(event.kind, Kind::status(Action::ResyncResponse));
    agent.send(ask(Vec::new())).await;
    let mut answered = BTreeSet::new();
    while answered.len() < 3 {
        answered.extend(agent.next().await.resource_id);
    }
    assert_eq!(agent.published_statuses(), 3 + 1 + 3);
    agent.stop().await;
}

#[tokio::test]
async fn a_refused_event_is_acked_so_that_it_blocks_nothing() {
    let mut agent = Harness::start().await;
    agent
        .send_raw("maestro/consumers/cluster1/sourceevents", b"not an event")
        .await;
    let mut foreign = upsert("w", 1, &[config_map("a", "1")]);
    foreign.cluster_name = Some("cluster2".into());
    agent.send(foreign).await;
    agent.until(|agent| agent.acks() == 2).await;
    assert!(agent.held().is_empty() && agent.files().is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn a_status_that_could_not_be_sent_is_kept_and_only_the_newest_follows() {
    let mut agent = Harness::start().await;
    agent.resync_request().await;
    agent.offline();
    for version in 1..=20 {
        agent
            .send(upsert(
                "w",
                version,
                &[config_map("a", &version.to_string())],
            ))
            .await;
    }
    agent.until(|agent| agent.acks() == 20).await;
    agent
        .until(|agent| {
            agent
                .files()
                .first()
                .is_some_and(|file| file.1 == config_map("a", "20"))
        })
        .await;
    agent
        .until(|agent| agent.status_version("w") == Version::new(20))
        .await;
    agent.reconnect();
    let (event, _) = agent.status("w", |_| true).await;
    assert_eq!(event.resource_version, Version::new(20));
    agent.stop().await;
}

#[derive(Clone, Debug)]
struct Step {
    work: usize,
    version: i64,
}

fn payload_of(work: usize, version: i64) -> Vec<Value> {
    // A few objects that come and go with the version.
    (0..3)
        .filter(|bit| (version >> bit) & 1 == 1)
        .map(|bit| config_map(&format!("w{work}-{bit}"), &version.to_string()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_order_and_repetitions_the_directory_equals_the_newest_versions(
        steps in prop::collection::vec((0usize..4, 1i64..8).prop_map(|(work, version)| Step { work, version }), 1..40),
        restart_after in 0usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut agent = Harness::start().await;
            for (index, step) in steps.iter().enumerate() {
                agent.send(upsert(&format!("w{}", step.work), step.version, &payload_of(step.work, step.version))).await;
                if index == restart_after {
                    agent.until(|agent| agent.acks() > index).await;
                    agent = agent.restart().await;
                }
            }
            let mut newest = std::collections::BTreeMap::new();
            for step in &steps {
                let version = newest.entry(step.work).or_insert(step.version);
                *version = step.version.max(*version);
            }
            let mut expected: Vec<(String, Value)> = newest
                .iter()
                .flat_map(|(work, version)| payload_of(*work, *version))
                .map(|manifest| (format!("d/configmap/{}.yaml", manifest["metadata"]["name"].as_str().unwrap()), manifest))
                .collect();
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            agent.until(|agent| agent.files() == expected).await;
            for (work, version) in &newest {
                let id = format!("w{work}");
                agent.until(|agent| agent.status_version(&id) == Version::new(*version) && agent.acknowledged(&id)).await;
            }
            agent.stop().await;
        });
    }
}

// Nothing here may take longer; a machine under load gets patience, not sleeps.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
