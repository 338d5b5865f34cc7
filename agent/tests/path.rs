//! The agent's whole data path without a broker: spec events in, files and status events out.

use std::time::Duration;

use agent::work::WorkId;
use link::event::{Action, Kind};
use link::order::Version;
use serde_json::json;

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

#[path = "path/resync.rs"]
mod resync;

#[path = "path/any_order.rs"]
mod any_order;

#[expect(
    clippy::unwrap_used,
    reason = "a report that cannot be read fails its test"
)]
#[path = "path/reports.rs"]
mod reports;

use harness::{Harness, config_map, delete, upsert};

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

// Nothing here may take longer; a machine under load gets patience, not sleeps.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
