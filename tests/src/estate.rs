//! A whole region's AWS on loopback, and the real `provisioner` against it: two kinds of account, an IoT Core whose
//! broker obeys its control plane, and the file that describes the region.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use link::iot::ArnPrefix;
use sandbox::broker::{Broker, BrokerConfig, Handle, RunningBroker};
use sandbox::control::{self, Control};
use sandbox::pki::Authority;
use serde_json::Value;

use crate::aws::{Iot, REGION, World, account_id};
use crate::process::{Output, Process, Spec};
use crate::scratch::Scratch;

pub use self::database::Database;

mod database;

/// Accounts, broker and file. Dropping it stops everything.
pub struct Estate {
    /// The accounts: `region` and one for each management cluster, called like it.
    pub world: Arc<World>,
    /// The broker, for looking at connections and at the registry.
    pub broker: Handle,
    /// What its RDS leads to, where it was asked for.
    pub database: Option<Database>,
    clusters: Vec<String>,
    env: Vec<(String, String)>,
    scratch: Scratch,
    runs: AtomicUsize,
    _broker: RunningBroker,
    _control: control::RunningControl,
}

// === impl Estate ===

impl Estate {
    /// A region named `estate` on an empty AWS, with management clusters of these ids, each in an account of its own.
    /// Its file is `region.yaml` in [`Estate::path`]; every account has its profile in it.
    ///
    /// # Errors
    /// When a server is missing or does not start.
    pub async fn start(test: &str, clusters: &[&str]) -> Result<Self> {
        let authority = Arc::new(Authority::new("estate")?);
        Box::pin(Self::with(test, clusters, HERE, authority, None)).await
    }

    /// The same with a real PostgreSQL server behind RDS, whose certificate is of the authority in `ca.pem`.
    ///
    /// # Errors
    /// When a server is missing or does not start.
    pub async fn with_database(test: &str, clusters: &[&str]) -> Result<Self> {
        Box::pin(Self::within_reach(test, clusters, HERE)).await
    }

    /// The same with broker and database at an address of this machine that others reach, which is the broker's name too.
    ///
    /// # Errors
    /// When a server is missing or does not start.
    pub async fn within_reach(test: &str, clusters: &[&str], host: Ipv4Addr) -> Result<Self> {
        let authority = Arc::new(Authority::new("estate")?);
        let database = Database::start(&authority, host).await?;
        Box::pin(Self::with(test, clusters, host, authority, Some(database))).await
    }

    async fn with(
        test: &str,
        clusters: &[&str],
        host: Ipv4Addr,
        authority: Arc<Authority>,
        database: Option<Database>,
    ) -> Result<Self> {
        let scratch = Scratch::new(test)?;
        let account = account_id();
        let server = authority.server(&[&host.to_string()])?;
        let any = SocketAddr::new(IpAddr::V4(host), 0);
        let mut config = BrokerConfig::new(any, server.certificate, server.key);
        config.arn = ArnPrefix::new(REGION, &account);
        let broker = Broker::bind(config).await?.spawn();
        let mut control =
            control::ControlConfig::new(LOOPBACK, Arc::clone(&authority), broker.handle());
        if host != HERE {
            control.endpoint = host.to_string();
        }
        let control = Control::bind(control).await?.start();

        let iot = Iot {
            address: control.local_addr(),
            account: account.clone(),
        };
        let mut builder = World::builder()
            .account_with_id("region", &account)
            .database(database.as_ref().map(Database::address))
            .iot(iot);
        for cluster in clusters {
            builder = builder.account(cluster);
        }
        let world = Arc::new(builder.start().await?);
        let env = world.config_file(scratch.path())?;
        std::fs::write(scratch.path().join("ca.pem"), authority.certificate_pem())?;
        let estate = Self {
            world,
            broker: broker.handle(),
            database,
            clusters: clusters.iter().map(|id| (*id).to_owned()).collect(),
            env,
            scratch,
            runs: AtomicUsize::new(0),
            _broker: broker,
            _control: control,
        };
        estate.write_file(&estate.file())?;
        Ok(estate)
    }

    /// The region's file as it is at first: everything by default, but small and quick.
    pub fn file(&self) -> String {
        let region = self.world.account("region");
        let ground = &region.ground;
        let subnets = ground.subnets.join(", ");
        let port = self.broker.local_addr().port();
        let mut file = format!(
            "name: estate\nregion: {REGION}\naccount: \"{}\"\naccess: {{profile: region}}\n\
             network:\n  vpc: {}\n  privateSubnets: [{subnets}]\n\
             eks:\n  cluster: {}\n  securityGroups: [{}]\n  bastionSecurityGroup: {}\n\
             broker: {{port: {port}, ca: ca.pem}}\n\
             secrets: {{recoveryDays: 0}}\n",
            region.id,
            ground.vpc,
            ground.cluster,
            ground.cluster_security_group,
            ground.bastion_security_group,
        );
        if !self.clusters.is_empty() {
            file.push_str("managementClusters:\n");
        }
        for id in &self.clusters {
            let account = &self.world.account(id).id;
            file.push_str(&format!(
                "  - {{id: {id}, account: \"{account}\", access: {{profile: {id}}}}}\n"
            ));
        }
        file
    }

    /// Replaces the region's file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_file(&self, text: &str) -> Result<()> {
        std::fs::write(self.path().join("region.yaml"), text).context("write region.yaml")
    }

    /// Where the file and the logs are.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// The environment that a process needs to reach these accounts.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// The provisioner with these arguments, in the directory of the file. Every one has logs of its own.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn provisioner(&self, args: &[&str]) -> Result<Spec> {
        let file = self.path().join("region.yaml");
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let spec = Spec::binary("provisioner")?
            .label(format!("provisioner-{run:02}"))
            .args(["--file".as_ref(), file.as_os_str()])
            .args(args);
        Ok(self
            .env
            .iter()
            .fold(spec, |spec, (name, value)| spec.env(name, value)))
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn run(&self, args: &[&str]) -> Result<Output> {
        self.run_with(args, &[]).await
    }

    /// The same with more environment variables.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Output> {
        let spec = self.provisioner(args)?;
        let spec = env
            .iter()
            .fold(spec, |spec, (name, value)| spec.env(name, value));
        Ok(spec.run(&self.logs()?, PATIENCE).await?)
    }

    /// Runs it to its end, which must be exit code 0.
    ///
    /// # Errors
    /// With all it said when it is not.
    pub async fn must(&self, args: &[&str]) -> Result<Output> {
        let output = self.run(args).await?;
        anyhow::ensure!(
            output.status.success(),
            "`provisioner {}` ended with {}\n{}{}",
            args.join(" "),
            output.status,
            output.stdout,
            output.stderr
        );
        Ok(output)
    }

    /// The plan as JSON, whatever it says.
    ///
    /// # Errors
    /// With all it said when that is no plan.
    pub async fn plan(&self) -> Result<Value> {
        let output = self.run(&["plan", "--json"]).await?;
        serde_json::from_str(&output.stdout).with_context(|| format!("read {output:?}"))
    }

    /// Starts it and leaves it running.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(&self, args: &[&str]) -> Result<Process> {
        Ok(self.provisioner(args)?.start(&self.logs()?)?)
    }

    /// The test passed: nothing to look at. Call it last.
    pub fn passed(self) {
        self.scratch.passed();
    }

    fn logs(&self) -> Result<PathBuf> {
        Ok(self.scratch.dir("logs")?)
    }
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(HERE), 0);
const PATIENCE: Duration = Duration::from_secs(120);
