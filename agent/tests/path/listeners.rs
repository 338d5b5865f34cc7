//! What is said is said to somebody: statuses that nobody heard, versions that a source should know of, and what a
//! server let pass that ours would have refused.

use std::time::Duration;

use link::bundle::{Condition, Status};
use link::event::Action;
use link::order::Version;
use serde_json::json;

use super::harness::{Harness, config_map, delete, upsert};

fn is_applied(status: &Status) -> bool {
    status.condition("Applied").is_some_and(Condition::is_true)
}

#[tokio::test(start_paused = true)]
async fn what_nobody_heard_counts_as_unreported_and_follows_when_somebody_listens() {
    const WORKS: usize = 50;
    let mut agent = Harness::start().await;
    agent.resync_request().await;
    agent.deaf(true);
    let ids: Vec<String> = (0..WORKS).map(|number| format!("w{number}")).collect();
    for id in &ids {
        agent.send(upsert(id, 1, &[config_map(id, "1")])).await;
    }
    agent.until(|agent| agent.unheard() >= WORKS).await;
    let before = agent.unheard();
    agent.pass(Duration::from_secs(600)).await;
    let tries = agent.unheard() - before;
    assert!((15..=25).contains(&tries), "{tries} tries in ten minutes");
    assert!(ids.iter().all(|id| !agent.acknowledged(id)));
    agent.deaf(false);
    // One try, and all the others with it.
    agent
        .until_within(Duration::from_secs(40), |agent| {
            ids.iter().all(|id| agent.acknowledged(id))
        })
        .await;
    agent.pass(Duration::from_secs(5)).await;
    let said = agent.published_statuses();
    agent.pass(Duration::from_secs(600)).await;
    assert_eq!(agent.published_statuses(), said, "nothing is said twice");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_nobody_heard_of_is_confirmed_later() {
    let mut agent = Harness::start().await;
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    agent.status("w", is_applied).await;
    agent.until(|agent| agent.acknowledged("w")).await;
    agent.deaf(true);
    agent.send(delete("w", Some(1))).await;
    agent.until(|agent| agent.files().is_empty()).await;
    agent.pass(Duration::from_secs(60)).await;
    assert_eq!(agent.held().len(), 1, "its source does not know yet");
    agent.deaf(false);
    // The source asks again, as one does that was away.
    agent.send(delete("w", Some(1))).await;
    agent.status("w", Status::is_deleted).await;
    agent.until(|agent| agent.held().is_empty()).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_sends_an_older_version_is_told_which_one_is_held() {
    let mut agent = Harness::start().await;
    agent.send(upsert("w", 7, &[config_map("a", "7")])).await;
    agent.status("w", is_applied).await;
    agent.until(|agent| agent.acknowledged("w")).await;
    agent.send(upsert("w", 3, &[config_map("a", "3")])).await;
    let (told, _) = agent.status("w", is_applied).await;
    assert_eq!(told.resource_version, Version::new(7));
    assert_eq!(told.kind.action, Action::ResyncResponse);
    assert_eq!(agent.files()[0].1["data"]["v"], "7");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_server_let_pass_is_refused_alone_and_told() {
    let mut agent = Harness::start().await;
    let mut owned = config_map("owned", "1");
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]);
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"name": "l"}, "items": [config_map("i", "1")]});
    let manifests = [config_map("good", "1"), owned, list];
    let typo = json!({"group": "", "resource": "configmaps", "name": "godo", "namespace": "d"});
    let spec = json!({
        "manifests": manifests,
        "manifestConfigs": [{"resourceIdentifier": typo, "updateStrategy": {"type": "ReadOnly"}}],
    });
    let event = upsert("w", 1, &[]).with_data(spec.to_string().into_bytes());
    agent.send(event).await;
    let (_, status) = agent
        .status("w", |status| status.condition("Applied").is_some())
        .await;
    let told: Vec<String> = status
        .conditions
        .iter()
        .chain(
            status
                .resource_status
                .iter()
                .flat_map(|manifest| &manifest.conditions),
        )
        .filter(|condition| {
            condition.kind != "Available" && condition.kind != "StatusFeedbackSynced"
        })
        .map(|condition| {
            format!(
                "{} {} {}",
                condition.kind, condition.status, condition.message
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    Applied False Failed to apply manifest work: manifests[1].metadata.ownerReferences: must not be set: an owner's uid belongs to one cluster, and where it is not known the object is collected as garbage; hint: take `ownerReferences` out of the manifest, the agent makes itself the owner (and 1 more manifest failed)
    ManifestConfigsMatched False manifestConfigs[0] matches no manifest; the nearest is manifests[0] (ConfigMap d/good), whose name is `good`, not `godo`; the default settings hold instead
    Applied True Apply manifest complete
    Applied False Failed to apply manifest: manifests[1].metadata.ownerReferences: must not be set: an owner's uid belongs to one cluster, and where it is not known the object is collected as garbage; hint: take `ownerReferences` out of the manifest, the agent makes itself the owner
    Applied False Failed to apply manifest: manifests[2].kind: `List` is not an object: post its items, each as a manifest
    ");
    let files: Vec<String> = agent.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_resync_request_that_the_broker_refuses_shows_in_readiness_and_is_sent_once_it_is_allowed()
 {
    let mut agent = Harness::start().await;
    agent.resync_request().await;
    agent.deny_resync(true);
    agent.reconnect();
    agent.until(|agent| agent.resync_health().is_err()).await;
    let why = agent.resync_health().err().unwrap_or_default();
    assert!(
        why.contains("not authorized") && why.contains("hint: see that the policy"),
        "{why}"
    );
    // It is refused again now and then, and nothing else waits for it.
    agent.send(upsert("w", 1, &[config_map("a", "1")])).await;
    agent.status("w", is_applied).await;
    agent.pass(Duration::from_secs(700)).await;
    assert_eq!(agent.requests(), 1);
    assert!(agent.resync_health().is_err());
    agent.deny_resync(false);
    agent
        .until_within(Duration::from_secs(301), |agent| agent.requests() == 2)
        .await;
    assert_eq!(agent.resync_health(), Ok(()));
    // Once, not time and again.
    agent.pass(Duration::from_secs(700)).await;
    assert_eq!(agent.requests(), 2);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_work_whose_name_another_agent_has_is_refused_alone_and_told() {
    let mut agent = Harness::start().await;
    agent.resync_request().await;
    agent.store.take_name_of(Some("theirs".into()));
    for id in ["a", "theirs", "b"] {
        agent.send(upsert(id, 1, &[config_map(id, "1")])).await;
    }
    let (_, status) = agent
        .status("theirs", |status| status.condition("Applied").is_some())
        .await;
    let told = status.condition("Applied").map(|it| it.message.clone());
    let told = told.unwrap_or_default();
    assert!(
        told.contains("is labelled for consumer `cluster2`; hint: delete the bundle"),
        "{told}"
    );
    agent
        .until(|agent| agent.acks() == 3 && agent.files().len() == 2)
        .await;
    assert_eq!(agent.held(), ["a".into(), "b".into()]);
    assert_eq!(agent.store_health(), Ok(()));
    // Alone in its batch, and another version.
    agent
        .send(upsert("theirs", 2, &[config_map("theirs", "1")]))
        .await;
    agent.status("theirs", |status| !is_applied(status)).await;
    agent.until(|agent| agent.acks() == 4).await;
    assert_eq!(agent.store_health(), Ok(()));
    // What its source sends once the name is free is taken.
    agent.store.take_name_of(None);
    agent
        .send(upsert("theirs", 2, &[config_map("theirs", "1")]))
        .await;
    agent.status("theirs", is_applied).await;
    agent.stop().await;
}
