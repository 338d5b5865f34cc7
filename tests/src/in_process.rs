//! An agent inside the test's own process, where a test can give it an applier of its own.
//!
//! It takes the place of the agent of a region: the same mounted directory, client id and rights, and the same parts
//! joined by `agent::app`; only the applier and the process differ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent::MqttUplink;
use agent::app::AgentConfig;
use agent::applier::Applier;
use agent::health::Health;
use agent::intake::Rules;
use agent::metrics::Metrics;
use agent::self_report::About;
use agent::work::Files;
use anyhow::{Context as _, Result, anyhow};
use link::admin::Checks;
use link::bundle::resync::PART_BYTES;
use link::clock::Clock;
use link::config::ProcessEnv;
use link::endpoint::{Endpoint, SessionSpec, Sources};
use link::event::agent_report::AgentTarget;
use link::mqtt::Reconnect;
use link::party::Party;
use link::supervise::{Restarts, TaskDied};
use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::metrics::MetricsPage;
use crate::region::{Agent, SOURCE};

/// A running agent; dropping it ends it like a `kill -9`.
pub struct InProcessAgent {
    registry: Registry,
    stop: CancellationToken,
    task: JoinHandle<Result<(), TaskDied>>,
}

// === impl InProcessAgent ===

impl InProcessAgent {
    /// Kills a region's agent and starts one with this applier in its place.
    ///
    /// # Errors
    /// When a part of it cannot be opened.
    pub fn replace<T: Applier>(agent: &mut Agent, applier: T) -> Result<Self> {
        agent.service.kill()?;
        link::tls::install_provider();
        let sources = Sources {
            mount: Some(agent.mount.directory()),
            ..Sources::default()
        };
        let endpoint = Endpoint::resolve(sources, &ProcessEnv).map_err(|failure| told(&failure))?;
        let consumer = endpoint.consumer.clone();
        let consumer = consumer.context("the mount names the consumer")?;
        let source = format!("{consumer}-work-agent");
        let scheme = endpoint.scheme.clone();
        let party = Party::agent_as(&scheme, &consumer, &source)?;
        let lines = party.client_ids().into_iter().map(|client_id| SessionSpec {
            client_id,
            subscriptions: party.subscribes().to_vec(),
            listens_later: false,
        });
        let registry = Registry::new();
        let clock = Clock::system();
        let mut links = endpoint
            .links(
                lines.collect(),
                &Reconnect::default(),
                clock.clone(),
                &registry,
                &Checks::new(),
            )
            .map_err(|failure| told(&failure))?;
        let session = links.sessions.pop().context("it has a session")?;
        let inbound = links.inbound.pop().context("it subscribes")?;
        let store = Arc::new(Files::open(&agent.state)?.store);
        let agent_topic = scheme.agent_events(&consumer);
        let config = AgentConfig {
            rules: Rules {
                consumer,
                sources: Some(BTreeSet::from([SOURCE.to_owned()])),
            },
            agent: source,
            resync_topic: agent_topic.clone(),
            agent_topic,
            consumer_of: Box::new(move |topic| scheme.consumer_of(topic)),
            paused: None,
            period: PERIOD,
            max_raw_bytes: RAW_BYTES,
            max_status_bytes: PART_BYTES,
            on_trouble: Box::new(|_, _, _| {}),
            store_health: Health::ignored(),
            target_health: Health::ignored(),
            resync_health: Health::ignored(),
            metrics: Metrics::register(&registry)?,
            about: About::new(AgentTarget::Directory, clock.now()),
            restarts: Restarts::unregistered(),
            clock,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (stop, runner) = (stop.clone(), links.runner);
            async move {
                let (uplink, following) = MqttUplink::new(session);
                let agent = config.build(store, applier, inbound, uplink);
                let ended = CancellationToken::new();
                let running = async {
                    let worked = Box::pin(agent.run(stop)).await;
                    ended.cancel();
                    worked
                };
                let (connected, worked, ()) =
                    tokio::join!(runner.run(ended.clone()), running, following);
                connected.and(worked)
            }
        });
        Ok(Self {
            registry,
            stop,
            task,
        })
    }

    /// Its metrics as they stand.
    pub fn metrics(&self) -> MetricsPage {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather());
        MetricsPage::parse(&text.unwrap_or_default())
    }

    /// Lets it finish what it has in hand.
    ///
    /// # Errors
    /// When it panicked or does not end.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        let ended = crate::wait::timeout(STOP, &mut self.task).await;
        Ok(ended.context("the agent does not end")???)
    }
}

impl Drop for InProcessAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn told(failure: &link::error::Failure) -> anyhow::Error {
    anyhow!("{failure}")
}

// Longer than any test: what is looked at again was caused.
const PERIOD: Duration = Duration::from_secs(3600);
const RAW_BYTES: usize = 1024;
// Three steps of the agent's own ten seconds.
const STOP: Duration = Duration::from_secs(30);
