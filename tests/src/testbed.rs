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

use crate::aws::{FakeAws, Iot, REGION, account_id};
use crate::process::{Output, Process, ProcessSpec};
use crate::test_dir::TestDir;

pub use self::database::RdsDatabase;

mod database;

/// Accounts, broker and file. Dropping it stops everything.
pub struct Testbed {
    /// The accounts: `region` and one for each management cluster, called like it.
    pub aws: Arc<FakeAws>,
    /// The broker, for looking at connections and at the registry.
    pub broker: Handle,
    /// What its RDS leads to, where it was asked for.
    pub database: Option<RdsDatabase>,
    clusters: Vec<String>,
    env: Vec<(String, String)>,
    test_dir: TestDir,
    runs: AtomicUsize,
    _broker: RunningBroker,
    _control: control::RunningControl,
}

// === impl Testbed ===

impl Testbed {
    /// A region named `testbed` on an empty AWS, with management clusters of these ids, each in an account of its own.
    /// Its file is `region.yaml` in [`Testbed::path`]; every account has its profile in it.
    ///
    /// # Errors
    /// When a server is missing or does not start.
    pub async fn start(test: &str, clusters: &[&str]) -> Result<Self> {
        let authority = Arc::new(Authority::new("testbed")?);
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
        let authority = Arc::new(Authority::new("testbed")?);
        let database = RdsDatabase::start(&authority, host).await?;
        Box::pin(Self::with(test, clusters, host, authority, Some(database))).await
    }

    async fn with(
        test: &str,
        clusters: &[&str],
        host: Ipv4Addr,
        authority: Arc<Authority>,
        database: Option<RdsDatabase>,
    ) -> Result<Self> {
        let test_dir = TestDir::new(test)?;
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
        let mut builder = FakeAws::builder()
            .account_with_id("region", &account)
            .database(database.as_ref().map(RdsDatabase::address))
            .iot(iot);
        for cluster in clusters {
            builder = builder.account(cluster);
        }
        let aws = Arc::new(builder.start().await?);
        let env = aws.config_file(test_dir.path())?;
        std::fs::write(test_dir.path().join("ca.pem"), authority.certificate_pem())?;
        let testbed = Self {
            aws,
            broker: broker.handle(),
            database,
            clusters: clusters.iter().map(|id| (*id).to_owned()).collect(),
            env,
            test_dir,
            runs: AtomicUsize::new(0),
            _broker: broker,
            _control: control,
        };
        testbed.write_file(&testbed.file())?;
        Ok(testbed)
    }

    /// The region's file as it is at first: everything by default, but small and quick.
    pub fn file(&self) -> String {
        let region = self.aws.account("region");
        let prerequisites = &region.prerequisites;
        let subnets = prerequisites.subnets.join(", ");
        let port = self.broker.local_addr().port();
        let mut file = format!(
            "name: testbed\nregion: {REGION}\naccount: \"{}\"\naccess: {{profile: region}}\n\
             network:\n  vpc: {}\n  privateSubnets: [{subnets}]\n\
             eks:\n  cluster: {}\n  securityGroups: [{}]\n  bastionSecurityGroup: {}\n\
             broker: {{port: {port}, ca: ca.pem}}\n\
             secrets: {{recoveryDays: 0}}\n",
            region.id,
            prerequisites.vpc,
            prerequisites.cluster,
            prerequisites.cluster_security_group,
            prerequisites.bastion_security_group,
        );
        if !self.clusters.is_empty() {
            file.push_str("managementClusters:\n");
        }
        for id in &self.clusters {
            let account = &self.aws.account(id).id;
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
        self.test_dir.path()
    }

    /// The environment that a process needs to reach these accounts.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// The provisioner with these arguments, in the directory of the file. Every one has logs of its own.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn provisioner(&self, args: &[&str]) -> Result<ProcessSpec> {
        let file = self.path().join("region.yaml");
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let spec = ProcessSpec::binary("provisioner")?
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
        self.test_dir.passed();
    }

    fn logs(&self) -> Result<PathBuf> {
        Ok(self.test_dir.dir("logs")?)
    }
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(HERE), 0);
const PATIENCE: Duration = Duration::from_secs(120);
