//! MQTT sessions inside the test's own process, against a sandbox broker with a policy that allows everything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use link::clock::Clock;
use link::id::ClientId;
use link::identity::{self, Location};
use link::iot::limits::ConnectionLimits;
use link::iot::policy::Document;
use link::mqtt::{self, Inbound, Reconnect, Session};
use prometheus::Registry;
use sandbox::broker::{Broker, BrokerConfig, CertificateState, Quotas, RunningBroker};
use sandbox::pki::{Authority, CertificateRequest, Layout, Set, write_mount};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::metrics::MetricsPage;

/// A sandbox broker without rate quotas, and the authority its clients trust.
pub struct SessionFixture {
    /// Signs servers and clients.
    pub authority: Authority,
    /// The running broker.
    pub broker: RunningBroker,
}

/// A session that is being driven.
pub struct Client {
    /// Publishes.
    pub session: Session,
    /// Receives.
    pub inbound: Inbound,
    /// Its metrics.
    pub registry: Registry,
    /// The directory its certificate is mounted in.
    pub mount: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

// === impl SessionFixture ===

impl SessionFixture {
    /// Starts the broker on a free port.
    ///
    /// # Errors
    /// When certificates cannot be made or no port can be bound.
    pub async fn start() -> anyhow::Result<Self> {
        link::tls::install_provider();
        let authority = Authority::new("test CA")?;
        let server = authority.server(&["localhost"])?;
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = BrokerConfig::new(listen, server.certificate, server.key);
        config.quotas = Quotas::none();
        config
            .registry
            .put_policy(EVERYTHING, Document::parse(ALLOW_EVERYTHING)?)?;
        let broker = Broker::bind(config).await?.spawn();
        Ok(Self { authority, broker })
    }

    /// Issues a certificate that is registered and may do everything.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn enrol(&self, name: &str) -> anyhow::Result<Set> {
        self.enrol_as(&CertificateRequest::new(name), CertificateState::Active)
    }

    /// Issues a certificate as asked for and registers it in a state.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn enrol_as(
        &self,
        request: &CertificateRequest,
        state: CertificateState,
    ) -> anyhow::Result<Set> {
        let set = self.authority.issue(request)?;
        let registry = self.broker.registry();
        let fingerprint = registry.register_pem(&set.certificate, &[EVERYTHING])?;
        registry.set_state(&fingerprint, state)?;
        Ok(set)
    }

    /// Connects a client through `address` (the broker's own, or a proxy's), with quick retries.
    ///
    /// # Errors
    /// When its identity is refused.
    pub fn client(
        &self,
        name: &str,
        address: SocketAddr,
        filters: &[&str],
        test_dir: &Path,
    ) -> anyhow::Result<Client> {
        let mount = test_dir.join(name);
        write_mount(&mount, &self.enrol(name)?, &[], Layout::PerFileRename)?;
        Client::start(name, address, filters, mount)
    }
}

// === impl Client ===

impl Client {
    /// Connects a client whose identity lies in `mount`.
    ///
    /// # Errors
    /// When its identity is refused.
    pub fn start(
        name: &str,
        address: SocketAddr,
        filters: &[&str],
        mount: PathBuf,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let options = identity::WatchOptions {
            poll_interval: Duration::from_millis(500),
            debounce: Duration::from_millis(50),
        };
        let location = Location::Directory(mount.clone());
        let (identity, watcher) = identity::watch(
            location,
            Clock::system(),
            options,
            identity::IdentityMetrics::register(&registry)?,
        )?;
        let config = mqtt::Config {
            subscriptions: filters.iter().map(ToString::to_string).collect(),
            limits: ConnectionLimits {
                publishes_per_second: 1_000_000,
                bytes_per_second: u32::MAX,
                ..ConnectionLimits::IOT_CORE
            },
            reconnect: Reconnect {
                first: Duration::from_millis(5),
                max: Duration::from_millis(50),
                stable_after: Duration::from_secs(1),
                refused: Duration::from_millis(200),
            },
            ..mqtt::Config::new("localhost", address.port(), ClientId::new(name)?)
        };
        let (session, inbound, driver) =
            config.build(identity, mqtt::SessionMetrics::register(&registry)?)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                tokio::join!(driver.run(stop.clone()), watcher.run(stop));
            }
        });
        Ok(Self {
            session,
            inbound,
            registry,
            mount,
            stop,
            task,
        })
    }

    /// Shuts the session down in order.
    ///
    /// # Errors
    /// When it does not end within ten seconds.
    pub async fn shutdown(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = crate::wait::timeout(Duration::from_secs(10), self.task).await;
        ended
            .context("the session did not shut down")?
            .map_err(|error| anyhow!(error))
    }

    /// A counter of this client by name, all labels added up.
    pub fn counter(&self, name: &str) -> u64 {
        self.page().count(name, &[])
    }

    /// A counter of this client by name and outcome.
    pub fn counter_of(&self, name: &str, outcome: &str) -> u64 {
        self.page().count(name, &[("outcome", outcome)])
    }

    fn page(&self) -> MetricsPage {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather());
        MetricsPage::parse(&text.unwrap_or_default())
    }
}

/// Name of the policy that allows everything.
pub const EVERYTHING: &str = "everything";

/// The policy that allows everything.
pub const ALLOW_EVERYTHING: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#;
