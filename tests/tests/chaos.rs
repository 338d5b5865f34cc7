//! `kill -9` of agent, bridge and broker at random moments while bundles are created, changed and deleted:
//! afterwards every directory equals the newest versions and every status the directory.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{SeedableRng as _, seq::IndexedRandom as _};
use serde_json::Value;
use tests::api::{Api, config_map};
use tests::fleet::{ExpectedBundle, ExpectedBundles, Writer};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::seed;
use tokio::sync::watch;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn killed_parts_agree_on_2000_changing_bundles_of_20_consumers_through_the_sandbox()
-> Result<()> {
    let plan = Plan {
        consumers: 20,
        bundles: 100,
        pace: Duration::from_millis(150),
        kills: &[
            (KilledProcess::Agent, 15),
            (KilledProcess::Bridge, 6),
            (KilledProcess::Broker, 3),
        ],
    };
    let builder = RegionBuilder::new("chaos-sandbox", BrokerKind::Sandbox).without_quotas();
    killed_parts_agree(builder, plan).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_parts_agree_on_changing_bundles_through_a_forgetful_mosquitto() -> Result<()> {
    let plan = Plan {
        consumers: 5,
        bundles: 30,
        pace: Duration::from_millis(150),
        kills: &[
            (KilledProcess::Agent, 5),
            (KilledProcess::Bridge, 4),
            (KilledProcess::Broker, 3),
        ],
    };
    let builder =
        RegionBuilder::new("chaos-mosquitto", BrokerKind::Mosquitto).without_persistence();
    killed_parts_agree(builder, plan).await
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    consumers: usize,
    // Of each consumer; each is created and changed at least once.
    bundles: usize,
    // Between two requests for one consumer.
    pace: Duration,
    kills: &'static [(KilledProcess, usize)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KilledProcess {
    Agent,
    Bridge,
    Broker,
}

async fn killed_parts_agree(builder: RegionBuilder, plan: Plan) -> Result<()> {
    let mut rng = seed::rng("chaos");
    let mut region = builder.agents(plan.consumers).start().await?;
    let (address, api) = watch::channel(region.apis().await?);
    let over = CancellationToken::new();
    let streams: Vec<Stream> = region
        .agents
        .keys()
        .map(|consumer| Stream {
            writer: Writer::new(api.clone()),
            consumer: consumer.clone(),
            rng: StdRng::seed_from_u64(rng.random()),
            expected: ExpectedBundles::default(),
        })
        .collect();
    let writing = try_join_all(streams.into_iter().map(|stream| stream.run(plan, &over)));
    let killing = async {
        let killed = kill(&mut region, &address, plan, &mut rng).await;
        over.cancel();
        killed
    };
    let (written, ()) = futures_util::future::try_join(writing, killing).await?;
    let expected = ExpectedBundles(
        written
            .into_iter()
            .flat_map(|expected| expected.0)
            .collect(),
    );
    region.ready().await?;
    expected.reached(&mut region, QUIESCENCE).await?;
    region.passed();
    Ok(())
}

/// Kills one part after the other, sometimes two at once, and starts them again after a random while.
#[expect(
    clippy::print_stderr,
    reason = "the test runner shows it when the test fails"
)]
async fn kill(
    region: &mut Region,
    address: &watch::Sender<Vec<Api>>,
    plan: Plan,
    rng: &mut StdRng,
) -> Result<()> {
    let mut victims: Vec<KilledProcess> = plan
        .kills
        .iter()
        .flat_map(|(killed, times)| std::iter::repeat_n(*killed, *times))
        .collect();
    victims.shuffle(rng);
    while !victims.is_empty() {
        // The moments themselves are what is random here.
        sleep(rng.random_range(CALM)).await;
        let together = if rng.random_bool(0.3) { 2 } else { 1 };
        let mut dead: Vec<(KilledProcess, String)> = Vec::new();
        for _ in 0..together {
            let Some(killed) = victims.pop() else { break };
            let names: Vec<&String> = region.agents.keys().collect();
            let name = names
                .choose(rng)
                .map_or_else(String::new, ToString::to_string);
            match killed {
                KilledProcess::Agent => region.agent(&name)?.service.kill()?,
                KilledProcess::Bridge => region.bridge.kill()?,
                KilledProcess::Broker => region.broker.kill().await?,
            }
            dead.push((killed, name));
        }
        dead.shuffle(rng);
        for (killed, name) in dead {
            sleep(rng.random_range(DEATH)).await;
            eprintln!("killed {killed:?} {name}");
            match killed {
                KilledProcess::Agent => region.agent(&name)?.service.restart()?,
                KilledProcess::Bridge => {
                    region.bridge.restart()?;
                    address.send_replace(region.apis().await?);
                }
                KilledProcess::Broker => region.broker.restart().await?,
            }
        }
    }
    Ok(())
}

/// The requests for one consumer.
struct Stream {
    writer: Writer,
    consumer: String,
    rng: StdRng,
    expected: ExpectedBundles,
}

// === impl Stream ===

impl Stream {
    async fn run(mut self, plan: Plan, over: &CancellationToken) -> Result<ExpectedBundles> {
        let mut pace = interval(plan.pace);
        let mut ids = Vec::new();
        for number in 0..plan.bundles {
            pace.tick().await;
            let id = format!("{}-{number}", self.consumer);
            let manifests = manifests(&id, self.rng.random());
            self.writer.create(&id, &self.consumer, &manifests).await?;
            let bundle = ExpectedBundle {
                consumer: self.consumer.clone(),
                version: 1,
                manifests,
            };
            self.expected.0.insert(id.clone(), bundle);
            ids.push(id);
            // Changes from the start, not only once everything is there.
            pace.tick().await;
            let id = ids[self.rng.random_range(0..ids.len())].clone();
            self.change_or_delete(&id).await?;
        }
        for id in &ids {
            pace.tick().await;
            self.change_or_delete(id).await?;
        }
        while !over.is_cancelled() {
            pace.tick().await;
            let id = ids[self.rng.random_range(0..ids.len())].clone();
            self.change_or_delete(&id).await?;
        }
        Ok(self.expected)
    }

    async fn change_or_delete(&mut self, id: &str) -> Result<()> {
        let Some(bundle) = self.expected.0.get_mut(id) else {
            return Ok(());
        };
        if self.rng.random_bool(DELETED) {
            self.expected.0.remove(id);
            return self.writer.delete(id).await;
        }
        bundle.manifests = manifests(id, self.rng.random());
        bundle.version = self
            .writer
            .change(id, bundle.version, &bundle.manifests)
            .await?;
        Ok(())
    }
}

/// One object that changes and a second one that comes and goes.
fn manifests(id: &str, value: u64) -> Vec<Value> {
    let mut manifests = vec![config_map(id, &value.to_string())];
    if value.is_multiple_of(2) {
        manifests.push(config_map(&format!("{id}-second"), "here"));
    }
    manifests
}

const CALM: std::ops::Range<Duration> = Duration::from_millis(200)..Duration::from_millis(1_500);
const DEATH: std::ops::Range<Duration> = Duration::ZERO..Duration::from_millis(800);

// Of the requests after the first for a bundle.
const DELETED: f64 = 0.1;

// The broker is killed three times, so that a service's delay before it connects again is at most 4 s; the rest is
// for hundreds of bundles on a busy machine.
const QUIESCENCE: Duration = Duration::from_secs(60);
