//! More messages than an agent has room for, at a target that takes its time: everything goes at the target's pace, and
//! nobody asks, answers, drops or reconnects in circles.
//!
//! The agent is the product's, inside this process, with an applier whose removals take a second. What it may receive and
//! ask for is bounded by what was ordered, not by how long it takes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use agent::applier::directory::Directory;
use agent::applier::{
    Applied, Applier, ApplierError, Change, Claim, Desired, HeldObject, Release, Released,
};
use agent::reconcile::WORKERS;
use agent::work::WorkId;
use anyhow::{Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use link::bundle::manifest::ObjectRef;
use link::event::decode;
use serde_json::Value;
use tests::api::{Api, config_map};
use tests::fleet::{Writer, files};
use tests::in_process::InProcessAgent;
use tests::metrics::MetricsPage;
use tests::peer_events::source_topic;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::session::Client;
use tests::wait::wait_for;
use tokio::sync::{mpsc, watch};

#[tokio::test(flavor = "multi_thread")]
async fn deletions_go_at_the_pace_of_a_slow_target_through_the_sandbox() -> Result<()> {
    everything_goes(
        RegionBuilder::new("storm-sandbox", BrokerKind::Sandbox),
        Trouble::None,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_go_at_the_pace_of_a_slow_target_through_mosquitto() -> Result<()> {
    let builder = RegionBuilder::new("storm-mosquitto", BrokerKind::Mosquitto);
    everything_goes(builder, Trouble::None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_said_twice_ask_for_no_resync_through_the_sandbox() -> Result<()> {
    let builder = RegionBuilder::new("storm-repeated", BrokerKind::Sandbox);
    everything_goes(builder, Trouble::EveryDeletionTwice).await
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_sent_again_by_a_new_bridge_start_no_storm_through_mosquitto() -> Result<()> {
    let builder = RegionBuilder::new("storm-restarted", BrokerKind::Mosquitto);
    everything_goes(builder, Trouble::BridgeRestarts).await
}

/// What happens while the deletions are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// Somebody repeats each as soon as it is heard.
    EveryDeletionTwice,
    /// The bridge dies; its successor asks the agent, and sends again what is not confirmed.
    BridgeRestarts,
}

async fn everything_goes(builder: RegionBuilder, trouble: Trouble) -> Result<()> {
    let mut region = builder.start().await?;
    let slow = region.agent("cluster1")?;
    let target = slow.target.clone();
    let directory = Directory::open(&target, &slow.state.join("ownership"), SWEEP)?;
    let agent = InProcessAgent::replace(slow, Slow(directory))?;
    let echo = match trouble {
        Trouble::EveryDeletionTwice => {
            Some(Echo::start(region.peer("echo", &[&source_topic("cluster1")])?).await?)
        }
        _ => None,
    };
    let (address, api) = watch::channel(region.apis().await?);
    let writer = Writer::new(api);
    each(|id| {
        let writer = &writer;
        async move {
            let manifests = [config_map(&id, "here")];
            writer.create(&id, "cluster1", &manifests).await
        }
    })
    .await?;
    wait_for("every object", APPLIED, async || match files(&target) {
        Ok(found) if found.len() == WORKS => Ok(()),
        Ok(found) => Err(format!("{} of {WORKS}", found.len())),
        Err(error) => Err(format!("{error:#}")),
    })
    .await?;
    let before = Traffic::of(&agent.metrics());

    let begun = Instant::now();
    each(|id| {
        let writer = &writer;
        async move { writer.delete(&id).await }
    })
    .await?;
    if trouble == Trouble::BridgeRestarts {
        left(&region.api().await?, 5 * WORKS / 6, GONE).await?;
        region.bridge.kill()?;
        region.bridge.restart()?;
        address.send_replace(region.apis().await?);
    }
    let gone = left(&region.api().await?, 0, GONE).await;
    let after = Traffic::of(&agent.metrics());
    report(trouble, begun.elapsed(), &before, &after);
    gone?;
    ensure!(files(&target)?.is_empty(), "objects without a work");

    // A first connection, and what a new bridge asks for.
    let requests = after.requests - before.requests;
    ensure!(
        requests <= REQUESTS,
        "asked {requests} times for everything"
    );
    // Every creation and every deletion twice over is what repetition may come to.
    ensure!(after.received <= 2 * 2 * WORKS as u64, "{after:?}");
    ensure!(
        after.connections == 1,
        "connected {} times to a broker that was always there",
        after.connections
    );
    drop(echo);
    agent.stop().await?;
    quiet(&mut region).await?;
    region.passed();
    Ok(())
}

/// Waits until the bridge has at most so many bundles.
async fn left(api: &Api, most: usize, patience: Duration) -> Result<()> {
    wait_for("the bundles to go", patience, async || {
        let page = api.bundles("size=1").await;
        let total = page.map_err(|error| error.to_string())?.total;
        if total <= most as u64 {
            Ok(())
        } else {
            Err(format!("{total} of {WORKS} are left"))
        }
    })
    .await?;
    Ok(())
}

/// The bridge's own connection stood through it too.
async fn quiet(region: &mut Region) -> Result<()> {
    let page = region.bridge.metrics().await?;
    let connections = page.count("mqtt_connections_total", &[]);
    ensure!(connections == 1, "the bridge connected {connections} times");
    Ok(())
}

/// Does something for the id of every work, from several callers at once.
async fn each<F: Future<Output = Result<()>>>(act: impl Fn(String) -> F) -> Result<()> {
    stream::iter(0..WORKS)
        .map(|number| act(format!("work-{number}")))
        .buffer_unordered(CALLERS)
        .try_collect()
        .await
}

#[expect(clippy::print_stderr, reason = "the figures of a failed run")]
fn report(trouble: Trouble, took: Duration, before: &Traffic, after: &Traffic) {
    eprintln!("{trouble:?}: {took:?} of {GONE:?}; before the deletions {before:?}, then {after:?}");
}

/// What came and went at the agent.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    received: u64,
    requests: u64,
    connections: u64,
}

// === impl Traffic ===

impl Traffic {
    fn of(page: &MetricsPage) -> Self {
        Self {
            received: page.count("mqtt_received_total", &[]),
            requests: page.count("agent_resync_requests_total", &[]),
            connections: page.count("mqtt_connections_total", &[]),
        }
    }
}

/// A directory that takes a second to remove a file, as a namespace or a finalizer does.
struct Slow(Directory);

// === impl Slow ===

impl Applier for Slow {
    async fn claim(
        &self,
        owner: &WorkId,
        declared: &[Claim],
    ) -> Result<Vec<HeldObject>, ApplierError> {
        self.0.claim(owner, declared).await
    }

    async fn apply(&self, owner: &WorkId, desired: Desired<'_>) -> Result<Applied, ApplierError> {
        self.0.apply(owner, desired).await
    }

    async fn observe(&self, object: &ObjectRef) -> Result<Option<Value>, ApplierError> {
        self.0.observe(object).await
    }

    async fn release(
        &self,
        owner: &WorkId,
        held: &HeldObject,
        mode: Release,
    ) -> Result<Released, ApplierError> {
        tokio::time::sleep(RELEASE).await;
        self.0.release(owner, held, mode).await
    }

    async fn settle(&self, owner: &WorkId) -> Result<(), ApplierError> {
        self.0.settle(owner).await
    }

    fn owns(&self, owner: &WorkId) -> bool {
        self.0.owns(owner)
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        self.0.watch(changes).await;
    }
}

/// Repeats every deletion it hears, once.
struct Echo(tokio::task::JoinHandle<()>);

// === impl Echo ===

impl Echo {
    async fn start(mut client: Client) -> Result<Self> {
        ensure!(client.session.ready().await, "the echo subscribes");
        let task = tokio::spawn(async move {
            let mut said = HashSet::new();
            while let Some(delivery) = client.inbound.recv().await {
                let message = delivery.message.clone();
                let deleted = decode(&message)
                    .ok()
                    .filter(|event| event.deletion_timestamp.is_some())
                    .and_then(|event| event.resource_id);
                if deleted.is_some_and(|id| said.insert(id)) {
                    // A receipt that is dropped would take the message back; what became of it is nobody's business.
                    if let Ok(receipt) = client.session.publish(message).await {
                        let _ = receipt.await;
                    }
                }
                delivery.ack();
            }
        });
        Ok(Self(task))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// The channel of an agent holds 250 messages and the broker's window 100.
const WORKS: usize = 600;
const CALLERS: usize = 16;
const RELEASE: Duration = Duration::from_secs(1);
// What the target itself needs, and half of that for a debug build beside another test.
const GONE: Duration = Duration::from_secs(3 * WORKS as u64 / (2 * WORKERS as u64));
// 600 creations at IoT Core's 100 a second.
const APPLIED: Duration = Duration::from_secs(60);
// Spec resync requests once the deletions begin.
const REQUESTS: u64 = 3;
// Nobody changes a file behind the agent's back.
const SWEEP: Duration = Duration::from_secs(600);
