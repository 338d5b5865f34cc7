//! Lists that make up for what a gap lost: what the agent says it holds, and which statuses it sends again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use link::bundle::resync::{HeldStatus, SpecRequest, StatusRequest};
use link::event::{Action, Event, Kind, SubResource};

use super::harness::{Harness, config_map, consumer, upsert};

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
