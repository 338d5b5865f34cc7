//! The agent with its real surroundings: certificate, MQTT session, state directory, target, readiness.
//! [`Settings`] → [`Settings::build`] → [`Service::run`]; a region in one process builds several.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use link::admin::{Check, Checks};
use link::bundle::resync::PART_BYTES;
use link::clock::Clock;
use link::endpoint::{Endpoint, Line, Runner};
use link::error::{ExitKind, Failure};
use link::id::ConsumerName;
use link::iot::party::Party;
use link::mqtt::{Inbound, Reconnect};
use link::shutdown::Drain;
use link::topic::filter_matches;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::app::{Agent, Config};
use crate::args::TargetSpec;
use crate::health::Health;
use crate::intake::Rules;
use crate::metrics::Metrics;
use crate::session::MqttUplink;
use crate::target::directory::Directory;
use crate::work::Files;

/// Everything an agent needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Broker, topics and certificate.
    pub endpoint: Endpoint,
    /// The consumer this agent is.
    pub consumer: ConsumerName,
    /// The CloudEvents source of this agent; its client id is this and `-client`.
    pub event_source: String,
    /// Sources that may send; `None` means any.
    pub sources: Option<BTreeSet<String>>,
    /// Where manifests are applied.
    pub target: TargetSpec,
    /// Where works, statuses and ownership are kept.
    pub state_dir: PathBuf,
    /// How often applied objects are compared with what they should be.
    pub sweep: Duration,
    /// Longest JSON text of one feedback value in bytes.
    pub max_raw_bytes: usize,
    /// When to connect again.
    pub reconnect: Reconnect,
    /// Wall clock.
    pub clock: Clock,
}

/// An agent that is ready to run.
pub struct Service {
    agent: Agent<Arc<Files>, Directory, Inbound, MqttUplink>,
    runner: Runner,
    consumer: ConsumerName,
}

// === impl Settings ===

impl Settings {
    /// Opens the state, the target and the session; nothing is dialled yet. Adds the readiness checks `identity`,
    /// `broker`, `store` and `target`.
    ///
    /// # Errors
    /// What is wrong with the configuration, the certificate or one of the directories.
    pub fn build(self, registry: &Registry, checks: &Checks) -> Result<Service, Failure> {
        let scheme = self.endpoint.scheme.clone();
        let party = Party::agent_as(&scheme, &self.consumer, &self.event_source)
            .map_err(Failure::misuse)?;
        let opened = Files::open(&self.state_dir)?;
        info!(
            works = opened.works,
            damaged = opened.quarantined.len(),
            state_dir = %self.state_dir.display(),
            "Opened the state directory"
        );
        let TargetSpec::Directory(root) = &self.target;
        let target = Directory::open(root, &self.state_dir.join("ownership"), self.sweep)?;
        let metrics =
            Metrics::register(registry).map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let lines = party
            .client_ids()
            .into_iter()
            .map(|client_id| Line {
                client_id,
                subscriptions: party.subscribes().to_vec(),
            })
            .collect();
        let mut links =
            self.endpoint
                .links(lines, &self.reconnect, self.clock.clone(), registry, checks)?;
        let (Some(session), Some(inbound)) = (links.sessions.pop(), links.inbound.pop()) else {
            return Err(Failure::new(ExitKind::Failed, "the agent has no session"));
        };
        let agent_topic = scheme.agent_events(&self.consumer);
        let config = Config {
            rules: Rules {
                consumer: self.consumer.clone(),
                sources: self.sources,
            },
            agent: self.event_source,
            resync_topic: scheme
                .agent_broadcast(&self.consumer)
                .unwrap_or_else(|| agent_topic.clone()),
            agent_topic,
            consumer_of: Box::new({
                let broadcast = scheme.source_broadcast_filter();
                let us = self.consumer.clone();
                move |topic| {
                    let to_all = broadcast
                        .as_deref()
                        .is_some_and(|filter| filter_matches(filter, topic));
                    if to_all {
                        Some(us.clone())
                    } else {
                        scheme.consumer_of(topic)
                    }
                }
            }),
            on_trouble: Box::new(|_, _, _| {}),
            period: REAPPLY,
            max_raw_bytes: self.max_raw_bytes,
            max_status_bytes: PART_BYTES,
            store_health: health(checks.add("store")),
            target_health: health(checks.add("target")),
            metrics,
            clock: self.clock,
        };
        Ok(Service {
            agent: config.build(
                Arc::new(opened.store),
                target,
                inbound,
                MqttUplink::new(session),
            ),
            runner: links.runner,
            consumer: self.consumer,
        })
    }
}

// === impl Service ===

impl Service {
    /// Runs until `drain` is requested; the session is closed last, when the final statuses are out.
    pub async fn run(self, drain: Drain) {
        let pending = drain.register(format!("agent {}", self.consumer));
        let done = CancellationToken::new();
        let connected = tokio::spawn(self.runner.run(done.clone()));
        info!(consumer = %self.consumer, "Agent is running");
        Box::pin(self.agent.run(drain.token())).await;
        done.cancel();
        if let Err(error) = connected.await {
            warn!(%error, "The session did not end cleanly");
        }
        info!(consumer = %self.consumer, "Agent has stopped");
        drop(pending);
    }
}

fn health(check: Check) -> Health {
    check.ok();
    Health::new(move |state| match state {
        Ok(()) => check.ok(),
        Err(why) => check.failing(why),
    })
}

// Jittered to 4–6 minutes, as upstream's drift correction; changes are noticed long before, by the sweep.
const REAPPLY: Duration = Duration::from_secs(240);
