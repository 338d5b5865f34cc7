//! An agent that lies, repeats itself or is confused harms only itself, and what it broke mends; so does what a late
//! copy of an old event broke.
//!
//! The intruder is a scripted peer that the broker lets write to every topic, beside the product's own bridge and agents.

// Long because each lie is told and mended in one place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use link::bundle::resync::{HeldVersion, SpecRequest};
use link::event::{Action, Event, Kind as Type, RESYNC_ID, RESYNC_PART, decode, encode};
use link::id::ConsumerName;
use link::message::Message;
use link::order::{SequenceId, Version};
use reqwest::Method;
use serde_json::{Value, json};
use tests::api::{Api, Change, config_map};
use tests::measure;
use tests::peer_events::{self, agent_topic, publish, source_topic, status};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::session::Client;
use tests::wait::wait_for;
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_id_from_the_future_freezes_neither_status_nor_deletion() -> Result<()> {
    let mut region = RegionBuilder::new("misbehaving-future", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    let id = create(&api, "cluster1", "a").await?;
    applied(&api, &id, 1).await?;
    let peer = region.peer("intruder", &[])?;
    for version in [1, 2] {
        // What an agent says whose clock is 200 days ahead, once.
        let ahead = peer_events::now() + SignedDuration::from_hours(200 * 24);
        let sequence = SequenceId::from_parts(ahead, 1, 0);
        let event = status("cluster1", &id, version, sequence, "Applied");
        heard(&mut region, &peer, &event).await?;
        if version == 1 {
            let change = Change::of(1, vec![config_map("a", "changed")]);
            api.change_bundle(&id, &change).await?;
            applied(&api, &id, 2).await?;
        }
    }
    // Within the version that was frozen too.
    let sequence = SequenceId::from_parts(peer_events::now(), 1, 0);
    let honest = status("cluster1", &id, 2, sequence, "Honest");
    heard(&mut region, &peer, &honest).await?;
    wait_for("the honest status", PATIENCE, async || {
        match api.bundle(&id).await {
            Ok(Some(bundle)) if bundle.is("Honest") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    api.delete_bundle(&id).await?;
    gone(&api, &id).await?;
    ensure!(
        region
            .agent("cluster1")?
            .applied(&config_map("a", ""))?
            .is_none()
    );
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_nobody_can_read_is_refused_and_lists_stay_json() -> Result<()> {
    let mut region = RegionBuilder::new("misbehaving-number", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    let id = create(&api, "cluster1", "a").await?;
    applied(&api, &id, 1).await?;
    let peer = region.peer("intruder", &[])?;
    let condition = peer_events::condition("Applied").to_string();
    for data in [
        format!("{{\"conditions\":[{condition}],\"extra\":1e999}}"),
        format!("{{\"conditions\":[{condition}],\"extra\":[{{\"deep\":-1e400}}]}}"),
        format!(
            "{{\"conditions\":[{condition}],\"extra\":{}9}}",
            "9".repeat(400)
        ),
        format!(
            "{{\"conditions\":[{condition}],\"resourceStatus\":[{{\"conditions\":[],\"resourceMeta\":{{}},\
             \"statusFeedback\":{{\"values\":[{{\"name\":\"n\",\"fieldValue\":{{\"type\":\"Integer\",\
             \"integer\":1e999}}}}]}}}}]}}"
        ),
    ] {
        let sequence = SequenceId::from_parts(peer_events::now(), 1, 0);
        let event = status("cluster1", &id, 1, sequence, "Applied").with_data(data);
        heard(&mut region, &peer, &event).await?;
        readable(&api, &id).await?;
    }
    // What stands beside the status is shown too.
    let sequence = SequenceId::from_parts(peer_events::now(), 1, 0);
    let mut event = status("cluster1", &id, 1, sequence, "Applied");
    event.metadata = Some("{\"name\":\"a\",\"generation\":1e999}".into());
    heard(&mut region, &peer, &event).await?;
    readable(&api, &id).await?;
    // The honest agent goes on.
    api.change_bundle(&id, &Change::of(1, vec![config_map("a", "changed")]))
        .await?;
    applied(&api, &id, 2).await?;
    readable(&api, &id).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn resync_requests_that_are_never_finished_hold_little_memory_and_no_other_consumer()
-> Result<()> {
    let mut region = RegionBuilder::new("misbehaving-parts", BrokerKind::Sandbox)
        .without_quotas()
        .start()
        .await?;
    let api = region.api().await?;
    let rogues: Vec<String> = (1..=ROGUES)
        .map(|number| format!("intruder{number}"))
        .collect();
    for intruder in &rogues {
        api.create_consumer(intruder).await?;
    }
    let peer = region.peer("intruder", &[])?;
    let bridge = region.bridge.process().id();
    let before = measure::memory(bridge)?.resident;
    let flood = async {
        // All but the last part of each.
        let parts = rogues.iter().flat_map(|intruder| {
            let parts = LONGEST
                .into_iter()
                .flat_map(|of| (1..of).map(move |part| (part, of)));
            parts.map(move |(part, of)| (intruder.as_str(), part, of))
        });
        stream::iter(parts)
            .map(|(intruder, part, of)| publish(&peer, request(intruder, part, of)))
            .buffer_unordered(WINDOW)
            .try_collect::<()>()
            .await
    };
    let honest = async {
        for number in 0..5 {
            let id = create(&api, "cluster1", &format!("honest-{number}")).await?;
            applied(&api, &id, 1).await?;
        }
        anyhow::Ok(())
    };
    futures_util::future::try_join(flood, honest).await?;
    let id = create(&api, "cluster1", "after").await?;
    applied(&api, &id, 1).await?;
    let grown = measure::memory(bridge)?.peak.saturating_sub(before);
    ensure!(
        grown < MEMORY,
        "{} MB for unfinished requests",
        grown / 1_000_000
    );

    // A finished one of works that nobody knows is worth a few lines, not one for each.
    for part in 1..=FINISHED {
        publish(&peer, request("rogue1", part, FINISHED)).await?;
    }
    let works = u64::from(FINISHED) * ENTRIES as u64;
    wait_for("the request to be answered", PATIENCE, async || {
        let page = region.bridge.metrics().await;
        let page = page.map_err(|error| format!("{error:#}"))?;
        match page.count("bridge_unknown_works_total", &[]) {
            count if count >= works => Ok(()),
            count => Err(format!("{count} of {works}")),
        }
    })
    .await?;
    let lines = region.bridge.process().output().lines().count();
    ensure!(lines < LINES, "{lines} lines of log");
    let id = create(&api, "cluster1", "at-last").await?;
    applied(&api, &id, 1).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_for_a_live_bundle_makes_the_bridge_send_it_again() -> Result<()> {
    let mut region = RegionBuilder::new("misbehaving-deleted", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    let listener =
        SpecListener::start(region.peer("listener", &[&source_topic("cluster1")])?).await?;
    let id = create(&api, "cluster1", "a").await?;
    applied(&api, &id, 1).await?;
    listener.creation_of(&id).await?;
    let before = listener.specs_of(&id);
    let peer = region.peer("intruder", &[])?;
    let sequence = SequenceId::from_parts(peer_events::now(), 1, 0);
    let event = status("cluster1", &id, 1, sequence, "Deleted");
    publish(&peer, encode(&event, agent_topic("cluster1"))).await?;
    wait_for(
        "the bundle on its way again",
        PATIENCE,
        async || match listener.specs_of(&id) {
            count if count > before => Ok(()),
            count => Err(format!("{count} versions on the wire")),
        },
    )
    .await?;
    let bundle = api.bundle(&id).await?.context("it is still there")?;
    ensure!(
        bundle.deleted_at.is_none() && !bundle.is("Deleted"),
        "{bundle:?}"
    );
    ensure!(
        region
            .agent("cluster1")?
            .applied(&config_map("a", ""))?
            .is_some()
    );
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_object_that_a_late_deletion_took_is_applied_again() -> Result<()> {
    let mut region = RegionBuilder::new("misbehaving-late-deletion", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    let id = create(&api, "cluster1", "a").await?;
    applied(&api, &id, 1).await?;
    let file = region.agent("cluster1")?.file_of(&config_map("a", ""));
    let first = written(&file)?.context("it is applied")?;
    // An id that was deleted and used again, and a copy of its first deletion that comes late.
    let peer = region.peer("late", &[])?;
    let late = peer_events::deletion("cluster1", &id, 1);
    publish(&peer, encode(&late, source_topic("cluster1"))).await?;
    wait_for(
        "the object to be written anew",
        PATIENCE,
        async || match written(&file)? {
            Some(at) if at > first => Ok(()),
            other => Err(anyhow::anyhow!("{other:?}, first {first:?}")),
        },
    )
    .await?;
    applied(&api, &id, 1).await?;
    // It is as alive as ever.
    api.change_bundle(&id, &Change::of(1, vec![config_map("a", "changed")]))
        .await?;
    applied(&api, &id, 2).await?;
    api.delete_bundle(&id).await?;
    gone(&api, &id).await?;
    ensure!(!file.exists());
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_late_creation_brought_back_is_removed_again() -> Result<()> {
    let mut region = RegionBuilder::new("misbehaving-late-creation", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    let listener =
        SpecListener::start(region.peer("listener", &[&source_topic("cluster1")])?).await?;
    let id = create(&api, "cluster1", "a").await?;
    applied(&api, &id, 1).await?;
    api.delete_bundle(&id).await?;
    gone(&api, &id).await?;
    let file = region.agent("cluster1")?.file_of(&config_map("a", ""));
    ensure!(!file.exists());
    let copy = listener.creation_of(&id).await?;
    let peer = region.peer("late", &[])?;
    // What comes while it forgets the work counts as a repetition.
    let process = region.agent("cluster1")?.service.process();
    process
        .line_with("its deletion acknowledged", PATIENCE)
        .await?;
    // An agent that remembers the end of the work takes no copy of its beginning.
    publish(&peer, copy.clone()).await?;
    wait_for("the copy to be judged", PATIENCE, async || {
        let page = region.agent("cluster1")?.service.metrics().await?;
        let refused = page.count("agent_events_refused_total", &[("reason", "departed")]);
        let deletions = page.count("agent_events_taken_total", DELETION);
        ensure!(
            refused + deletions > 1,
            "{refused} refused, {deletions} deletions"
        );
        anyhow::Ok(())
    })
    .await?;
    // One that has lost its memory does, but the bridge has not.
    let agent = region.agent("cluster1")?;
    agent.service.kill()?;
    std::fs::remove_dir_all(&agent.state)?;
    let agent = &mut agent.service;
    agent.restart()?;
    agent.ready().await?;
    publish(&peer, copy).await?;
    wait_for("a second deletion", PATIENCE, async || {
        let page = agent.metrics().await?;
        let deletions = page.count("agent_events_taken_total", DELETION);
        ensure!(deletions > 0, "{deletions} deletions, {}", file.exists());
        anyhow::Ok(())
    })
    .await?;
    wait_for("the object to go again", PATIENCE, async || {
        (!file.exists()).then_some(()).ok_or("it is there")
    })
    .await?;
    ensure!(api.bundle(&id).await?.is_none(), "the dead came back");
    ensure!(api.bundles("").await?.total == 0);
    // Nobody goes on about it: the work is forgotten on both sides.
    wait_for("the work to be forgotten", PATIENCE, async || {
        let page = region.agent("cluster1")?.service.metrics().await?;
        let held = page.count("agent_works", &[]);
        ensure!(held == 0, "{held} works held");
        anyhow::Ok(())
    })
    .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_again_at_once_is_a_new_bundle_and_copies_of_its_earlier_lives_are_not()
-> Result<()> {
    let mut region = RegionBuilder::new("misbehaving-lives", BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    let listener =
        SpecListener::start(region.peer("listener", &[&source_topic("cluster1")])?).await?;
    let peer = region.peer("late", &[])?;
    let id = "again";
    for life in 0..5 {
        let value = format!("life-{life}");
        let body = json!({
            "id": id,
            "consumer_name": "cluster1",
            "manifests": [config_map("a", &value)],
        });
        let (status, text) = api
            .raw(Method::POST, "/resource-bundles", Some(&body))
            .await?;
        ensure!(status == 201, "{status} {text}");
        applied(&api, id, 1).await?;
        let there = region.agent("cluster1")?.applied(&config_map("a", ""))?;
        ensure!(there == Some(config_map("a", &value)), "{there:?}");
        if life > 0 {
            // Of the first of them, with another content and the same version.
            let copy = listener.creation_of(id).await?;
            publish(&peer, copy).await?;
            let change = Change::of(1, vec![config_map("a", &value), config_map("b", &value)]);
            api.change_bundle(id, &change).await?;
            applied(&api, id, 2).await?;
            let there = region.agent("cluster1")?.applied(&config_map("a", ""))?;
            ensure!(there == Some(config_map("a", &value)), "{there:?}");
        }
        api.delete_bundle(id).await?;
        gone(&api, id).await?;
    }
    ensure!(api.bundles("").await?.total == 0);
    region.passed();
    Ok(())
}

async fn create(api: &Api, consumer: &str, name: &str) -> Result<String> {
    let change = Change::create(consumer, vec![config_map(name, "here")]);
    Ok(api.create_bundle(&change).await?.id)
}

async fn applied(api: &Api, id: &str, version: i64) -> Result<()> {
    let what = format!("version {version} of `{id}` to be applied");
    wait_for(&what, PATIENCE, async || match api.bundle(id).await {
        Ok(Some(bundle)) if bundle.observed_version() == version && bundle.is("Applied") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    Ok(())
}

async fn gone(api: &Api, id: &str) -> Result<()> {
    wait_for("the bundle to go", PATIENCE, async || {
        match api.bundle(id).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}

/// Says something to the bridge and waits until it was counted, whatever became of it.
async fn heard(region: &mut Region, peer: &Client, event: &Event) -> Result<()> {
    let before = region.bridge.metrics().await?.count(TAKEN, &[]);
    publish(peer, encode(event, agent_topic("cluster1"))).await?;
    wait_for("the bridge to take it", PATIENCE, async || {
        let page = region.bridge.metrics().await?;
        ensure!(page.count(TAKEN, &[]) > before);
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

/// Whether whoever reads numbers as 64-bit floats, as Go does, can read what REST shows.
async fn readable(api: &Api, id: &str) -> Result<()> {
    for path in [
        "/resource-bundles?size=100".to_owned(),
        format!("/resource-bundles/{id}"),
    ] {
        let (status, text) = api.raw(Method::GET, &path, None).await?;
        ensure!(status == 200, "{path}: {status} {text}");
        let parsed: Value =
            serde_json::from_str(&text).with_context(|| format!("{path} is no JSON: {text}"))?;
        ensure!(
            finite(&parsed),
            "{path} holds a number without a value: {text}"
        );
    }
    Ok(())
}

fn finite(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Array(items) => items.iter().all(finite),
        Value::Object(members) => members.values().all(finite),
        _ => true,
    }
}

/// When a file was last written; `None` while it is not there.
fn written(file: &std::path::Path) -> Result<Option<SystemTime>> {
    match std::fs::metadata(file) {
        Ok(metadata) => Ok(Some(metadata.modified()?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One part of a spec resync request, as long as a part may be.
fn request(consumer: &str, part: u32, of: u32) -> Message {
    let resource_versions = (0..ENTRIES)
        .map(|number| HeldVersion {
            resource_id: format!("{consumer}-unheard-of-{part:04}-{number:05}-{:08}", 0),
            resource_version: Version::FIRST,
        })
        .collect();
    let data = json!(SpecRequest { resource_versions }).to_string();
    let name = ConsumerName::new(consumer).expect("the test's own name");
    let kind = Type::spec(Action::ResyncRequest);
    let source = format!("{consumer}-work-agent");
    let mut event = Event::new(source, kind, &name, peer_events::now()).with_data(data);
    let id = format!("request-of-{of}");
    event.extensions.insert(RESYNC_ID.into(), id);
    event
        .extensions
        .insert(RESYNC_PART.into(), format!("{part}/{of}"));
    encode(&event, agent_topic(consumer))
}

/// Keeps what the source says, by bundle.
struct SpecListener {
    heard: Arc<Mutex<BTreeMap<String, Vec<Message>>>>,
    task: JoinHandle<()>,
}

// === impl SpecListener ===

impl SpecListener {
    async fn start(mut client: Client) -> Result<Self> {
        ensure!(client.session.ready().await, "the listener subscribes");
        let heard = Arc::new(Mutex::new(BTreeMap::<String, Vec<Message>>::new()));
        let task = tokio::spawn({
            let heard = heard.clone();
            async move {
                while let Some(delivery) = client.inbound.recv().await {
                    let message = delivery.message.clone();
                    let event = decode(&message).ok();
                    if let Some(id) = event.and_then(|event| event.resource_id) {
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        heard.entry(id).or_default().push(message);
                    }
                    delivery.ack();
                }
            }
        });
        Ok(Self { heard, task })
    }

    /// How often a version of it went by, deletions not counted.
    fn specs_of(&self, id: &str) -> usize {
        self.of(id).len()
    }

    /// The first version of it. Whoever applied it may have heard it before this did.
    async fn creation_of(&self, id: &str) -> Result<Message> {
        let heard = wait_for("the creation on the wire", PATIENCE, async || {
            self.of(id).into_iter().next().ok_or("not heard")
        });
        Ok(heard.await?)
    }

    fn of(&self, id: &str) -> Vec<Message> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = heard.get(id).cloned().unwrap_or_default();
        let alive = |message: &Message| {
            decode(message).is_ok_and(|event| event.deletion_timestamp.is_none())
        };
        messages.into_iter().filter(alive).collect()
    }
}

impl Drop for SpecListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const DELETION: &[(&str, &str)] = &[("kind", "deletion")];
const TAKEN: &str = "bridge_agent_events_total";

const ROGUES: u32 = 8;
// Parts of one request: as many as were once taken, and as many as are.
const LONGEST: [u32; 2] = [256, 64];
const FINISHED: u32 = 20;
// 76 bytes each: a part of 120 000 bytes.
const ENTRIES: usize = 1_500;
const WINDOW: usize = 64;
// 255 parts of eight consumers took 250 MB.
const MEMORY: u64 = 150_000_000;
// 30 000 works were as many lines.
const LINES: usize = 1_000;

const PATIENCE: Duration = Duration::from_secs(60);
