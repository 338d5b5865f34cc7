//! One, two and four bridges on one PostgreSQL database with a thousand consumers: how fast bundles are created and sent,
//! how fast statuses are taken, how soon another takes over, and what it costs in connections and memory.
//!
//! `cargo bench -p tests --bench replicas`

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use link::clock::Clock;
use link::event::{Action, Event, Kind as Type, encode};
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use serde_json::json;
use tests::api::{Api, Change};
use tests::measure::database::Database;
use tests::measure::load_data::{SMALL, manifest};
use tests::measure::{self, say};
use tests::region::{BrokerKind, Region, RegionBuilder, SOURCE, Service};
use tests::session::Client;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    measure::begin("replicas: PostgreSQL with fsync, 1 000 consumers without agents, no quotas")?;
    let mut database = Database::start()?;
    for bridges in [1, 2, 4] {
        let free = ["--broker-rates", "unlimited"];
        let builder = RegionBuilder::new("bench-replicas", BrokerKind::Sandbox)
            .without_quotas()
            .bridge_args(free)
            .agent_args(free);
        let mut region = database.region(builder, bridges)?.start().await?;
        measured(&mut region, &database, bridges).await?;
        region.passed();
    }
    say(&format!("load average afterwards {}", measure::load()));
    Ok(())
}

async fn measured(region: &mut Region, database: &Database, bridges: usize) -> Result<()> {
    let apis = region.apis().await?;
    for number in 0..CONSUMERS {
        apis[0].create_consumer(&name(number)).await?;
    }
    owned(database, bridges).await?;
    memory(region, "with the consumers registered")?;

    let began = Instant::now();
    let created = try_join_all((0..CALLERS).map(|caller| create(&apis, caller))).await?;
    let ids: Vec<(usize, String)> = created.into_iter().flatten().collect();
    let count = ids.len() as f64;
    let in_time = began.elapsed().as_secs_f64();
    until(
        database,
        "SELECT count(*) FROM bridge.bundles WHERE unsent",
        "0",
    )
    .await?;
    let sent = began.elapsed().as_secs_f64();
    say(&format!(
        "{bridges} bridge(s): {CALLERS} callers create {SMALL} B at {:.0}/s, all sent at {:.0}/s",
        count / in_time,
        count / sent
    ));
    memory(region, "with a lane for each consumer")?;

    let peers: Vec<Client> = (0..PEERS)
        .map(|number| region.peer(&format!("agents-{number}"), &[]))
        .collect::<Result<_>>()?;
    let began = Instant::now();
    let parts = ids.chunks(ids.len().div_ceil(PEERS));
    try_join_all(peers.iter().zip(parts).map(|(peer, part)| tell(peer, part))).await?;
    let all = "SELECT count(*) FROM bridge.bundles WHERE status_sequence IS NULL";
    until(database, all, "0").await?;
    say(&format!(
        "{bridges} bridge(s): statuses taken at {:.0}/s",
        count / began.elapsed().as_secs_f64()
    ));
    let connections = database.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'server-bridge%'",
    )?;
    say(&format!("{bridges} bridge(s): {connections} connections"));
    memory(region, "with all statuses")?;
    if bridges > 1 {
        take_over(region, database, bridges).await?;
    }
    Ok(())
}

fn memory(region: &mut Region, when: &str) -> Result<()> {
    let mut held = Vec::new();
    for bridge in std::iter::once(&mut region.bridge).chain(&mut region.replicas) {
        held.push(measure::memory(bridge.process().id())?.to_string());
    }
    let (bridges, held) = (held.len(), held.join("; "));
    say(&format!("{bridges} bridge(s): memory {when} {held}"));
    Ok(())
}

async fn take_over(region: &mut Region, database: &Database, bridges: usize) -> Result<()> {
    let began = Instant::now();
    let last = region.replicas.last_mut().context("a replica")?;
    Service::kill(last)?;
    owned(database, bridges - 1).await?;
    say(&format!(
        "{bridges} bridge(s): after kill -9 of one the others own all buckets in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    let began = Instant::now();
    region
        .bridge
        .process()
        .stop(Duration::from_secs(30))
        .await?;
    if bridges > 2 {
        owned(database, bridges - 2).await?;
        say(&format!(
            "{bridges} bridge(s): after a clean stop of one, begun with the signal, in {:.1} s",
            began.elapsed().as_secs_f64()
        ));
    }
    Ok(())
}

/// Creates this caller's share of the bundles, through one bridge after the other.
async fn create(apis: &[Api], caller: usize) -> Result<Vec<(usize, String)>> {
    let mut created = Vec::new();
    for number in (caller..CONSUMERS * EACH).step_by(CALLERS) {
        let consumer = number % CONSUMERS;
        let manifests = vec![manifest(&format!("object-{number}"), SMALL)];
        let change = Change::create(&name(consumer), manifests);
        let bundle = apis[number % apis.len()].create_bundle(&change).await?;
        created.push((consumer, bundle.id));
    }
    Ok(created)
}

/// Publishes a status of each bundle as its agent would.
async fn tell(peer: &Client, bundles: &[(usize, String)]) -> Result<()> {
    let payload = json!({ "conditions": [{
        "type": "Applied", "status": "True", "lastTransitionTime": "2026-08-01T10:05:00Z", "reason": "Measured",
        "message": "",
    }] })
    .to_string();
    let version = Version::new(1).context("a version")?;
    let mut receipts = Vec::new();
    for (consumer, id) in bundles {
        let now = Clock::system().now();
        let consumer = ConsumerName::new(name(*consumer))?;
        let mut event =
            Event::new(SOURCE, Type::status(Action::Update), &consumer, now).about(id, version);
        event.source = format!("{consumer}-work-agent");
        event.original_source = Some(SOURCE.into());
        event.sequence_id = Some(SequenceId::from_parts(now, 1, 0));
        let topic = format!("maestro/consumers/{consumer}/agentevents");
        let message = encode(&event.with_data(payload.clone()), topic);
        receipts.push(peer.session.publish(message).await?);
    }
    try_join_all(receipts).await?;
    Ok(())
}

async fn owned(database: &Database, bridges: usize) -> Result<()> {
    let query = "SELECT count(DISTINCT l.instance) || '|' || count(r.instance) FROM bridge.bucket_leases l \
                 LEFT JOIN bridge.replicas r ON r.instance = l.instance AND r.expires_at > clock_timestamp()";
    until(database, query, &format!("{bridges}|256")).await
}

async fn until(database: &Database, query: &str, answer: &str) -> Result<()> {
    while database.sql(query)? != answer {
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn name(consumer: usize) -> String {
    format!("c{consumer}")
}

const CONSUMERS: usize = 1_000;
const EACH: usize = 5;
const CALLERS: usize = 8;
const PEERS: usize = 4;
