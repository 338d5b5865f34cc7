//! The cross-test list of docs/MAESTRO.md §7 with our agent in a real cluster, against a source that speaks as Go does.
//!
//! | Row | Case | Test |
//! |---|---|---|
//! | 1 | create, status | `specs::a_bundle_becomes_an_object_and_its_status_goes_back` |
//! | 2 | old and equal versions | `specs::an_old_version_is_ignored_and_an_equal_one_makes_no_noise` |
//! | 3 | sequence ids | `restarts::sequence_ids_rise_over_a_crash`; what a source ignores: `server-bridge` |
//! | 4, 5, 13 | deletions, each after the one before it is done | `specs::every_deletion_is_acknowledged` |
//! | 6 | restart while the source is away | `restarts::without_its_source_a_restarted_agent_keeps_everything` |
//! | 7 | reconnect with lists | `restarts::a_restarted_agent_says_what_it_holds` |
//! | 8 | status lists | `restarts::a_source_gets_the_statuses_that_it_does_not_have`; parts of a list: `tests/resync.rs` |
//! | 10 | odd content | `content::odd_content_stays_as_it_is_and_its_hash_too` |
//! | 12 | malformed events | `specs::malformed_events_harm_nobody`; over-size: `tests/refusals.rs` |
//! | 14 | broker trouble | `restarts::nothing_is_lost_in_a_storm_of_reconnects`, `restarts::…_same_client_id`; codes: `tests/session.rs` |
//! | 16 | names, owners, takeover and back | `ownership`, and `adoption` |
//! | 17 | strategies × delete options × executors | `applier`, `executor` |
//! | 18 | every condition | unit tests of `agent::status`, and `applier` |

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client as Kube};
use link::message::Message;
use serde_json::{Value, json};
use tests::go::{AGENT_TOPIC, send, spec};
use tests::kubernetes::Cluster;
use tests::region::{BrokerKind, Network, Region, RegionBuilder, Service};
use tests::session::Client;
use tests::wait::wait_for;

mod content;
mod ownership;
mod restarts;
mod specs;

/// An agent in a cluster, and a scripted source in place of our bridge.
pub(crate) struct Fixture {
    pub(crate) region: Region,
    pub(crate) source: Client,
    pub(crate) kube: Kube,
    /// Of somebody who may do everything.
    pub(crate) kubeconfig: &'static Path,
    /// Where its objects are.
    pub(crate) namespace: String,
}

// === impl Fixture ===

impl Fixture {
    pub(crate) async fn start(test: &str) -> Result<Self> {
        Self::with(test, Network::Direct, &[]).await
    }

    async fn with(test: &str, network: Network, agent_args: &[&str]) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let mut region = RegionBuilder::new(test, BrokerKind::Sandbox)
            .network(network)
            .on_cluster(cluster)
            // Whoever comes back under the same name need not wait until the lease is over.
            .agent_args(LEADER)
            .agent_args(agent_args.iter().copied())
            .start()
            .await?;
        region.bridge.kill()?;
        connected(&mut region.agent("cluster1")?.service).await?;
        let source = region.peer("go-source", &[AGENT_TOPIC])?;
        ensure!(source.session.ready().await);
        Ok(Self {
            region,
            source,
            kube: cluster.client().await?,
            kubeconfig: cluster.kubeconfig(),
            namespace: cluster.namespace("conformance").await?,
        })
    }

    /// Starts the agent again and waits until it listens to its source.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        let service = &mut self.region.agent("cluster1")?.service;
        service.restart()?;
        connected(service).await
    }

    /// Kills the agent, and forgets what it said before.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.region.agent("cluster1")?.service.kill()?;
        self.forget();
        Ok(())
    }

    /// Forgets what came from the agent.
    pub(crate) fn forget(&mut self) {
        while let Some(delivery) = self.source.inbound.try_recv() {
            delivery.ack();
        }
    }

    pub(crate) fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.kube.clone(), &self.namespace)
    }

    /// The value of a ConfigMap made by [`Self::map`]; `None` when there is none.
    pub(crate) async fn value_of(&self, name: &str) -> Result<Option<String>> {
        let map = self.maps().get_opt(name).await?;
        Ok(map.and_then(|map| map.data?.remove("value")))
    }

    /// A ConfigMap as a manifest.
    pub(crate) fn map(&self, name: &str, value: &str) -> Value {
        let mut manifest = tests::api::config_map(name, value);
        manifest["metadata"]["namespace"] = self.namespace.as_str().into();
        manifest
    }

    /// The bundle of one ConfigMap that is called as the bundle is.
    pub(crate) fn bundle(&self, id: &str, action: &str, version: i32, value: &str) -> Message {
        let data = json!({ "manifests": [self.map(id, value)] }).to_string();
        spec(id, action, version, &[], Some(&data))
    }

    pub(crate) async fn send(&self, message: Message) -> Result<()> {
        send(&self.source, message).await
    }

    /// The namespace of the agent's works.
    pub(crate) fn works(&self) -> Result<&str> {
        let namespace = self.region.agents["cluster1"].namespace.as_deref();
        namespace.context("the agent is in a cluster")
    }

    pub(crate) fn passed(self) {
        self.region.passed();
    }
}

/// An agent in a cluster is ready before it leads; a message that comes before it listens is lost. What it asks for to begin
/// with has been asked for then.
async fn connected(service: &mut Service) -> Result<()> {
    wait_for("a session", PATIENCE, async || {
        let page = service.metrics().await?;
        let sessions = page.count("mqtt_connected_sessions", &[]);
        let asked = page.count("agent_resync_requests_total", &[]);
        ensure!(
            sessions == 1 && asked > 0,
            "{sessions} sessions, {asked} requests"
        );
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

/// The name of its one agent in the election.
pub(crate) const LEADER: [&str; 2] = ["--leader-identity", "the-one"];

const PATIENCE: Duration = Duration::from_secs(60);
