//! What an agent refuses of sources.

use anyhow::{Result, ensure};
use link::event::{Action, Event, Kind as Type, SubResource, encode};
use link::message::Message;
use tests::api::{Change, config_map};
use tests::peer_events::{self as events, source_topic};
use tests::region::{BrokerKind, Region, RegionBuilder, SOURCE};
use tests::session::Client;

use crate::{TAKEN, applied, counted};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_refuses_what_a_source_may_not_say_and_goes_on() -> Result<()> {
    let mut region = RegionBuilder::new("refusals-agent", BrokerKind::Sandbox)
        .agents(2)
        .agent_args(["--allow-source", SOURCE])
        .start()
        .await?;
    let api = region.api().await?;
    let created = api
        .create_bundle(&Change::create("cluster1", vec![config_map("a", "one")]))
        .await?;
    let id = created.id.as_str();
    applied(&mut region, id, 1).await?;
    api.change_bundle(id, &Change::of(1, vec![config_map("a", "two")]))
        .await?;
    applied(&mut region, id, 2).await?;
    let peer = region.peer("intruder", &[])?;
    let repeated = events::spec("cluster1", id, 2, &[config_map("a", "two")]);
    let agent = &mut region.agent("cluster1")?.service;
    let repeated = encode(&repeated, source_topic("cluster1"));
    counted(
        agent,
        &peer,
        repeated,
        "agent_events_duplicate_total",
        &[],
        None,
    )
    .await?;
    let mut other_source = spec("cluster1", id, 3);
    other_source.source = "another".into();
    let mut other_type = spec("cluster1", id, 3);
    other_type.kind.data_type = "cluster.open-cluster-management.io.v1.managedclusters".into();
    let mut status = spec("cluster1", id, 3);
    status.kind.sub_resource = SubResource::Status;
    let mut nameless = spec("cluster1", id, 3);
    nameless.resource_id = None;
    let mut unversioned = spec("cluster1", id, 3);
    unversioned.resource_version = None;
    let mut unread = spec("cluster1", id, 3).with_data("[]");
    unread.kind = Type::status(Action::ResyncRequest);
    for (event, reason, explanation) in [
        (
            spec("cluster1", id, 1),
            "old_version",
            "version 1 is older than version 2 held",
        ),
        (
            spec("cluster2", id, 3),
            "foreign_consumer",
            "attribute `clustername` is `cluster2`",
        ),
        (
            other_source,
            "foreign_source",
            "source `another` is not among the allowed sources",
        ),
        (other_type, "data_type", "managedclusters"),
        (status, "action", "is not for an agent"),
        (
            nameless,
            "missing_resource_id",
            "attribute `resourceid` is missing",
        ),
        (
            unversioned,
            "missing_version",
            "attribute `resourceversion` is missing",
        ),
        (
            unread,
            "payload",
            "the status resync request cannot be read",
        ),
    ] {
        let message = encode(&event, source_topic("cluster1"));
        refused(&mut region, &peer, message, reason, explanation).await?;
    }
    let undecodable = Message::new(source_topic("cluster1"), "no event");
    refused(
        &mut region,
        &peer,
        undecodable,
        "not_an_event",
        "no `ce-specversion`",
    )
    .await?;
    let agent = region.agent("cluster1")?;
    ensure!(agent.applied(&config_map("a", ""))? == Some(config_map("a", "two")));
    // A deletion of what nobody holds is acknowledged all the same.
    let deletion = events::deletion("cluster1", "unheard-of", 1);
    let deletion = encode(&deletion, source_topic("cluster1"));
    let labels = [("outcome", "unknown_bundle")];
    counted(&mut region.bridge, &peer, deletion, TAKEN, &labels, None).await?;
    api.change_bundle(id, &Change::of(2, vec![config_map("a", "three")]))
        .await?;
    applied(&mut region, id, 3).await?;
    region.passed();
    Ok(())
}

/// An event that the agent of `cluster1` refuses for this reason, and explains.
async fn refused(
    region: &mut Region,
    peer: &Client,
    message: Message,
    reason: &str,
    explanation: &str,
) -> Result<()> {
    let agent = &mut region.agent("cluster1")?.service;
    let labels = [("reason", reason)];
    let metric = "agent_events_refused_total";
    counted(agent, peer, message, metric, &labels, Some(explanation)).await
}

fn spec(consumer: &str, id: &str, version: i64) -> Event {
    events::spec(consumer, id, version, &[config_map("a", "forged")])
}
