//! The broker of a region: the sandbox's inside this process, or a real mosquitto.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use link::iot::ArnPrefix;
use link::party::Party;
use sandbox::broker::{BrokerConfig, Handle, Quotas, Registry, RunningBroker};
use sandbox::pki::{Authority, Set};

use crate::mosquitto;
use crate::wait::wait_for;

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    /// `sandbox`: IoT Core's policies, numbers and punishments. Sessions do not survive a restart.
    Sandbox,
    /// mosquitto with mutual TLS and access rules. Sessions survive; see [`crate::mosquitto`].
    Mosquitto,
}

/// A broker that can be killed and started again on the same port.
#[derive(Debug)]
pub enum Broker {
    /// The sandbox's.
    Sandbox(Box<InProcessBroker>),
    /// mosquitto.
    Mosquitto(mosquitto::Instance),
}

/// The sandbox's broker with what it takes to start it again.
pub struct InProcessBroker {
    config: BrokerConfig,
    handle: Handle,
    running: Option<RunningBroker>,
}

/// What a builder chooses about the broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) quotas: bool,
    pub(super) persistence: bool,
}

/// A party with its certificate.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) party: Party,
    pub(super) set: Set,
}

// === impl Member ===

impl Member {
    pub(super) fn new(name: &str, party: Party, authority: &Authority) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            party,
            set: authority.client(name)?,
        })
    }
}

// === impl Broker ===

impl Broker {
    pub(super) async fn start(
        kind: BrokerKind,
        authority: &Authority,
        members: &[Member],
        options: Options,
        directory: &Path,
    ) -> Result<Self> {
        match kind {
            BrokerKind::Mosquitto => {
                let rules = rules(members);
                let builder = mosquitto::MosquittoBuilder::new(authority)
                    .acl(rules)
                    .persistence(options.persistence);
                Ok(Self::Mosquitto(builder.start(directory).await?))
            }
            BrokerKind::Sandbox => {
                let registry = registry(members)?;
                let server = authority.server(&[])?;
                let any = (Ipv4Addr::LOCALHOST, 0).into();
                let mut config = BrokerConfig::new(any, server.certificate, server.key);
                config.registry = registry;
                if !options.quotas {
                    config.quotas = Quotas::none();
                }
                let running = bind(&config).await?;
                let handle = running.clone();
                config.listen = handle.local_addr();
                Ok(Self::Sandbox(Box::new(InProcessBroker {
                    config,
                    handle,
                    running: Some(running),
                })))
            }
        }
    }

    /// Where it listens; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Sandbox(broker) => broker.config.listen,
            Self::Mosquitto(broker) => broker.address(),
        }
    }

    /// Ends it without a word to anybody: `kill -9`, or the sandbox's connections dropped with their sessions.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub async fn kill(&mut self) -> Result<()> {
        match self {
            Self::Mosquitto(broker) => broker.kill()?,
            Self::Sandbox(broker) => {
                if let Some(running) = broker.running.take() {
                    running.shutdown().await;
                }
            }
        }
        Ok(())
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    /// When the port does not become free.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        match self {
            Self::Mosquitto(broker) => broker.restart().await?,
            Self::Sandbox(broker) => {
                let config = &broker.config;
                let running = wait_for("the broker's port", PATIENCE, async || {
                    bind(config).await.map_err(|error| format!("{error:#}"))
                })
                .await?;
                broker.handle = running.clone();
                broker.running = Some(running);
            }
        }
        Ok(())
    }

    /// The sandbox broker's controls: registry, faults, counts.
    ///
    /// # Errors
    /// When the broker is mosquitto.
    pub fn sandbox(&self) -> Result<&Handle> {
        match self {
            Self::Sandbox(broker) => Ok(&broker.handle),
            Self::Mosquitto(_) => None.context("this region runs on mosquitto"),
        }
    }

    /// mosquitto, for its log and signals.
    ///
    /// # Errors
    /// When the broker is the sandbox's.
    pub fn mosquitto(&mut self) -> Result<&mut mosquitto::Instance> {
        match self {
            Self::Mosquitto(broker) => Ok(broker),
            Self::Sandbox(_) => None.context("this region runs on the sandbox broker"),
        }
    }
}

impl std::fmt::Debug for InProcessBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcessBroker")
            .field("listen", &self.config.listen)
            .finish_non_exhaustive()
    }
}

async fn bind(config: &BrokerConfig) -> Result<RunningBroker> {
    let broker = sandbox::broker::Broker::bind(config.clone()).await?;
    Ok(broker.spawn())
}

/// Every member's own policy, as a provisioner would attach it.
fn registry(members: &[Member]) -> Result<Registry> {
    let registry = Registry::new();
    for member in members {
        registry.put_policy(&member.name, member.party.policy(&ArnPrefix::default()))?;
        registry.register_pem(&member.set.certificate, &[&member.name])?;
    }
    Ok(registry)
}

/// The same rights in mosquitto's words: a policy's `*` for any consumer is a `+` there.
fn rules(members: &[Member]) -> String {
    let filters = |patterns: &[String]| -> Vec<String> {
        patterns
            .iter()
            .map(|pattern| pattern.replace('*', "+"))
            .collect()
    };
    let rights: Vec<_> = members
        .iter()
        .map(|member| {
            let party = &member.party;
            (
                member.name.as_str(),
                filters(party.publishes()),
                filters(party.receives()),
            )
        })
        .collect();
    mosquitto::acl(
        rights
            .iter()
            .map(|(name, publishes, receives)| (*name, &publishes[..], &receives[..])),
    )
}

// The port of an ended listener is free at once; this is for the last connection's goodbye.
const PATIENCE: Duration = Duration::from_secs(10);
