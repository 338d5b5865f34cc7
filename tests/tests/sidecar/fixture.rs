//! A region whose bridge has given way to a sidecar inside this process, and agents played by sessions.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use link::admin::Checks;
use link::clock::Clock;
use link::config::{BrokerFlags, ProcessEnv};
use link::endpoint::{Endpoint, Sources};
use link::error::Failure;
use link::id::{ClientId, SourceId};
use link::iot::ArnPrefix;
use link::mqtt::Reconnect;
use link::party::Party;
use link::shutdown::{Shutdown, Trigger};
use link::topic::Scheme;
use prometheus::Registry;
use server_bridge::sidecar::{self, GRACE, SidecarSettings};
use tests::metrics::MetricsPage;
use tests::pki::{Layout, Set};
use tests::region::{BRIDGE, BRIDGE_CLIENT, BrokerKind, Mount, Region, RegionBuilder, SOURCE};
use tests::session::Client;
use tests::wait::{timeout, wait_for};
use tokio_util::task::AbortOnDropHandle;

use crate::server::PATIENCE;

/// A running sidecar; dropping it ends it like a `kill -9`.
pub(crate) struct RunningSidecar {
    /// Where the server connects.
    pub(crate) address: SocketAddr,
    /// Its certificate.
    pub(crate) mount: Mount,
    registry: Registry,
    checks: Checks,
    stop: Trigger,
    task: AbortOnDropHandle<Result<(), Failure>>,
}

/// What a test chooses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) connections: u16,
    pub(crate) grace: Duration,
    /// Number among [`REPLICAS`] that hear [`SHARED`].
    pub(crate) slot: Option<u16>,
    /// `unlimited`, or IoT Core's `iot-core`.
    pub(crate) rates: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 1,
            grace: GRACE,
            slot: None,
            rates: "unlimited",
        }
    }
}

/// A region without its bridge, for so many consumers.
pub(crate) async fn region(test: &str, kind: BrokerKind, consumers: usize) -> Result<Region> {
    let builder = RegionBuilder::new(test, kind).agents(consumers);
    // mosquitto would write its whole database after every packet, and take one acknowledgement for each time.
    without_bridge(builder.without_quotas().without_persistence()).await
}

/// The same of any region: neither its bridge nor its agents run.
pub(crate) async fn without_bridge(builder: RegionBuilder) -> Result<Region> {
    let mut region = builder.start().await?;
    region.bridge.kill()?;
    for agent in region.agents.values_mut() {
        agent.service.kill()?;
    }
    Ok(region)
}

/// A certificate for the sidecar, with the bridge's rights for so many connections.
pub(crate) fn certificate(region: &Region, connections: u16) -> Result<Set> {
    let (source, base) = (SourceId::new(SOURCE)?, ClientId::new(BRIDGE_CLIENT)?);
    let party = Party::bridge(&Scheme::default(), &source, &base, connections)?;
    enrol(region, &party)
}

/// One for any of the replicas.
fn replicas_certificate(region: &Region, connections: u16) -> Result<Set> {
    let (source, base) = (SourceId::new(SOURCE)?, ClientId::new(BRIDGE_CLIENT)?);
    let party = Party::replicas(&Scheme::default(), &source, &base, REPLICAS, connections)?;
    enrol(region, &party)
}

fn enrol(region: &Region, party: &Party) -> Result<Set> {
    let set = region.authority.client(BRIDGE)?;
    if let Ok(broker) = region.broker.sandbox() {
        let policy = party.policy(&ArnPrefix::default());
        broker.registry().put_policy(SIDECAR, policy)?;
        broker
            .registry()
            .register_pem(&set.certificate, &[SIDECAR])?;
    }
    Ok(set)
}

/// An agent of a consumer, played by a session.
pub(crate) fn agent(region: &Region, consumer: &str) -> Result<Client> {
    let mount = region.agents[consumer].mount.directory().to_owned();
    let name = format!("{consumer}-work-agent-client");
    let filter = topic(consumer, "sourceevents");
    Client::start(&name, region.broker.address(), &[&filter], mount)
}

/// A topic of a consumer.
pub(crate) fn topic(consumer: &str, last: &str) -> String {
    format!("maestro/consumers/{consumer}/{last}")
}

// === impl RunningSidecar ===

impl RunningSidecar {
    /// Starts one that reaches the broker by this address, with quick reconnections.
    pub(crate) async fn start(
        region: &Region,
        broker: SocketAddr,
        options: Options,
    ) -> Result<Self> {
        link::tls::install_provider();
        let slot = options.slot.unwrap_or_default();
        let directory = region.test_dir.dir(&format!("{SIDECAR}-{slot}"))?;
        let mount = Mount::new(directory.join("mount"), None, broker, Layout::DataSymlink);
        let topics = Scheme::default().bridge_topics();
        let (set, agent_events) = match options.slot {
            None => (
                certificate(region, options.connections)?,
                topics.agent_events,
            ),
            Some(_) => (
                replicas_certificate(region, options.connections)?,
                SHARED.into(),
            ),
        };
        mount.replace(&set)?;
        let flags = BrokerFlags {
            broker_rates: Some(options.rates.into()),
            topics_source_events: Some(topics.source_events),
            topics_agent_events: Some(agent_events),
            ..BrokerFlags::default()
        };
        let sources = Sources {
            mount: Some(mount.directory()),
            flags: Some(&flags),
            ..Sources::default()
        };
        let settings = SidecarSettings {
            endpoint: Endpoint::resolve(sources, &ProcessEnv).map_err(told)?,
            source: SourceId::new(SOURCE)?,
            client_id: ClientId::new(BRIDGE_CLIENT)?,
            slot: options.slot,
            connections: options.connections,
            reconnect: Reconnect {
                first: Duration::from_millis(5),
                max: Duration::from_millis(50),
                stable_after: Duration::from_secs(1),
                refused: Duration::from_millis(200),
            },
            grace: options.grace,
            clock: Clock::system(),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = sidecar::bind(any).await.map_err(told)?;
        let address = listener.local_addr()?;
        let (registry, checks) = (Registry::new(), Checks::new());
        let built = settings.build_on(listener, &registry, &checks);
        let shutdown = Shutdown::manual();
        let running = built.map_err(told)?.run(shutdown.drain());
        Ok(Self {
            address,
            mount,
            registry,
            checks,
            stop: shutdown.trigger(),
            task: AbortOnDropHandle::new(tokio::spawn(Box::pin(running))),
        })
    }

    /// Its metrics.
    pub(crate) fn metrics(&self) -> MetricsPage {
        MetricsPage::parse(&self.page())
    }

    /// Its metrics and readiness as people read them, for a failure.
    pub(crate) fn text(&self) -> String {
        let page = self.page();
        let lines = page.lines().filter(|line| {
            (line.starts_with("sidecar_") || line.starts_with("mqtt_")) && !line.contains("_bucket")
        });
        let report = self.checks.report(Instant::now());
        format!("{report}\n{}", lines.collect::<Vec<_>>().join("\n"))
    }

    fn page(&self) -> String {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather());
        text.unwrap_or_default()
    }

    /// Events of a way with an outcome.
    pub(crate) fn events(&self, way: &str, outcome: &str) -> u64 {
        let labels = [("way", way), ("outcome", outcome)];
        self.metrics().count("sidecar_events_total", &labels)
    }

    /// Waits until `/readyz` would hold these words.
    pub(crate) async fn says(&self, words: &str) -> Result<()> {
        wait_for(words, PATIENCE, async || {
            let report = self.checks.report(Instant::now()).to_string();
            report.contains(words).then_some(()).ok_or(report)
        })
        .await?;
        Ok(())
    }

    /// Waits until all is ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        wait_for("the sidecar to be ready", PATIENCE, async || {
            let report = self.checks.report(Instant::now());
            report.ready.then_some(()).ok_or(report.to_string())
        })
        .await?;
        Ok(())
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.request();
        timeout(PATIENCE, self.task).await??.map_err(told)
    }

    /// Asks it to stop.
    pub(crate) fn request_stop(&self) {
        self.stop.request();
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn told(failure: Failure) -> anyhow::Error {
    anyhow!("{failure}")
}

/// Filter of the default scheme, as the server asks for it.
pub(crate) const FILTER: &str = "maestro/consumers/+/agentevents";

/// The same for servers that share what agents say.
pub(crate) const SHARED: &str = "$share/maestro/maestro/consumers/+/agentevents";

/// How many of them the broker's policy knows.
pub(crate) const REPLICAS: u16 = 2;

const SIDECAR: &str = "sidecar";
