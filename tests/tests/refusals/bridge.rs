//! What a bridge refuses of agents.

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use link::clock::Clock;
use link::event::{Action, Event, Kind as Type, SubResource, encode};
use link::message::Message;
use link::order::SequenceId;
use tests::api::{Change, config_map};
use tests::peer_events::{self as events, agent_topic};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::session::Client;

use crate::{TAKEN, applied, counted};

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_refuses_what_an_agent_may_not_say_and_goes_on() -> Result<()> {
    let mut region = RegionBuilder::new("refusals-bridge", BrokerKind::Sandbox)
        .agents(2)
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
    let now = Clock::system().now();
    // Ahead of whatever the agent still says of this version by itself.
    let newest = SequenceId::from_parts(now + SignedDuration::from_secs(2), 1, 1);
    let status = |version, sequence| events::status("cluster1", id, version, sequence, "Applied");
    let other_status = |consumer, id, version| {
        let sequence = SequenceId::from_parts(Clock::system().now(), 1, 0);
        events::status(consumer, id, version, sequence, "Applied")
    };

    // Taken once, so that there is something to repeat.
    let first = to_bridge("cluster1", &status(2, newest));
    expect(&mut region, &peer, first.clone(), "stored", None).await?;
    let earlier = SequenceId::from_parts(now - SignedDuration::from_secs(60), 1, 0);
    // Of another node, and not later than what is stored.
    let foreign = SequenceId::from_parts(now - SignedDuration::from_secs(1), 2, 0);
    let later = SequenceId::from_parts(now + SignedDuration::from_secs(3), 1, 0);
    // What is late may be the newest of an agent that was replaced, so the agent is asked, and its answer is later still:
    // these must be newer than that, however long the list takes.
    let newer = SequenceId::from_parts(now + SignedDuration::from_mins(5), 1, 0);
    let deleted = events::status("cluster1", id, 2, newer, "Deleted");
    let mut other_source = status(2, later);
    other_source.original_source = Some("another".into());
    let mut other_type = status(2, later);
    other_type.kind.data_type = "cluster.open-cluster-management.io.v1.managedclusters".into();
    let mut spec = status(2, later);
    spec.kind.sub_resource = SubResource::Spec;
    let mut nameless = status(2, later);
    nameless.resource_id = None;
    let mut resync = status(2, later).with_data("{\"resourceVersions\":7}");
    resync.kind = Type::spec(Action::ResyncRequest);
    let garbled = status(2, later).with_data("{\"conditions\":");
    for (message, outcome, explanation) in [
        (first, "stale_sequence", "is not newer than the stored"),
        (
            to_bridge("cluster1", &status(2, earlier)),
            "stale_sequence",
            "",
        ),
        (
            to_bridge("cluster1", &status(2, foreign)),
            "stale_sequence",
            "",
        ),
        (
            to_bridge("cluster1", &status(1, later)),
            "stale_version",
            "version 1",
        ),
        // On the topic of a cluster the sender may write to, about one that it is not.
        (
            to_bridge("cluster2", &status(2, later)),
            "foreign_consumer",
            "it speaks for `cluster1` on the topic of `cluster2`",
        ),
        (
            to_bridge("cluster2", &other_status("cluster2", id, 2)),
            "wrong_consumer",
            "belongs to `cluster1`",
        ),
        (
            to_bridge("cluster1", &other_source),
            "foreign_source",
            "it answers source `another`",
        ),
        (
            to_bridge("cluster1", &other_type),
            "data_type",
            "managedclusters",
        ),
        (
            to_bridge("cluster1", &spec),
            "not_for_a_bridge",
            "its type is",
        ),
        (
            to_bridge("cluster1", &nameless),
            "incomplete",
            "attribute `resourceid` is missing",
        ),
        (
            to_bridge("cluster1", &resync),
            "bad_resync",
            "its data is no resync request",
        ),
        (
            to_bridge("cluster1", &garbled),
            "undecodable",
            "its data is no status",
        ),
        (
            Message::new(agent_topic("cluster1"), "no event"),
            "undecodable",
            "",
        ),
        (
            to_bridge("cluster1", &other_status("cluster1", "unheard-of", 1)),
            "unknown_bundle",
            "`unheard-of`",
        ),
    ] {
        // One line a minute for each outcome: the first explains, the others are counted.
        let explanation = Some(explanation).filter(|text| !text.is_empty());
        expect(&mut region, &peer, message, outcome, explanation).await?;
    }
    let after = api.bundle(id).await?.context("it is still there")?;
    // Nothing of that was stored; the agent itself may have reported once more.
    let refused = [earlier, foreign, later].map(|sequence| sequence.to_string());
    let stored = after.status["SequenceID"].as_str().unwrap_or_default();
    ensure!(!refused.iter().any(|text| text == stored), "{after:?}");
    // Last, because the bundle is sent again for it, and its agent reports once more.
    let asked = Some("which nobody asked for");
    let deleted = to_bridge("cluster1", &deleted);
    expect(&mut region, &peer, deleted, "not_deleting", asked).await?;
    api.bundle(id).await?.context("nothing was deleted")?;
    // A version that the bridge never had: it is older than the cluster, and sends what it holds under a newer one.
    let ahead = to_bridge("cluster1", &status(9, newer));
    expect(
        &mut region,
        &peer,
        ahead,
        "ahead",
        Some("newer than version 2 of this database"),
    )
    .await?;
    applied(&mut region, id, 10).await?;
    // Everything else goes on: with the agent's own words about the next version.
    api.change_bundle(id, &Change::of(10, vec![config_map("a", "three")]))
        .await?;
    applied(&mut region, id, 11).await?;
    region.passed();
    Ok(())
}

/// An event whose outcome the bridge counts, and explains where something is given.
async fn expect(
    region: &mut Region,
    peer: &Client,
    message: Message,
    outcome: &str,
    explanation: Option<&str>,
) -> Result<()> {
    let labels = [("outcome", outcome)];
    counted(
        &mut region.bridge,
        peer,
        message,
        TAKEN,
        &labels,
        explanation,
    )
    .await
}

fn to_bridge(topic_of: &str, event: &Event) -> Message {
    encode(event, agent_topic(topic_of))
}
