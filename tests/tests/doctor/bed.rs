//! A broker with its control plane in this process, identities on disk, and the doctor called as a function.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use link::fault::{Finding, FindingsReport, Severity};
use link::iot::{ArnPrefix, Document};
use probe::args::{Args, Verb};
use sandbox::broker::{
    Broker, BrokerConfig, CertificateState, Fingerprint, Limits, Quotas, Registry, RunningBroker,
};
use sandbox::control::{Control, ControlConfig, RunningControl};
use sandbox::pki::{Authority, CertificateRequest, Layout, write_mount};
use tests::test_dir::TestDir;

/// A broker and whoever may connect to it.
pub(crate) struct Bed {
    pub(crate) broker: RunningBroker,
    pub(crate) control: RunningControl,
    pub(crate) authority: Arc<Authority>,
    pub(crate) dir: TestDir,
    next: AtomicU32,
}

/// A mounted identity that the registry knows.
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
    pub(crate) id: Fingerprint,
    /// The name of its policy.
    pub(crate) policy: String,
}

// === impl Bed ===

impl Bed {
    /// IoT Core's numbers.
    pub(crate) async fn new(test: &str) -> Result<Self> {
        Self::with(test, |_| {}).await
    }

    /// Other numbers.
    pub(crate) async fn with(test: &str, change: impl FnOnce(&mut BrokerConfig)) -> Result<Self> {
        link::tls::install_provider();
        let authority = Arc::new(Authority::new("doctor test")?);
        let server = authority.server(&["localhost"])?;
        let any = "127.0.0.1:0".parse()?;
        let mut config = BrokerConfig::new(any, server.certificate, server.key);
        config.registry = Registry::new();
        config.limits = Limits::IOT_CORE;
        config.quotas = Quotas::IOT_CORE;
        change(&mut config);
        let broker = Broker::bind(config).await?.spawn();
        let control = ControlConfig::new(any, authority.clone(), broker.handle());
        let control = Control::bind(control).await?.start();
        Ok(Self {
            broker,
            control,
            authority,
            dir: TestDir::new(test)?,
            next: AtomicU32::new(0),
        })
    }

    pub(crate) fn arn(&self) -> ArnPrefix {
        self.broker.arn().clone()
    }

    /// An identity with a policy of its own, in some state.
    pub(crate) fn mounted(&self, document: Document, state: CertificateState) -> Result<Mounted> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.issued(
            &CertificateRequest::new(&format!("client-{number}")),
            document,
            state,
        )
    }

    /// The same with a certificate of some kind.
    pub(crate) fn issued(
        &self,
        request: &CertificateRequest,
        document: Document,
        state: CertificateState,
    ) -> Result<Mounted> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let set = self.authority.issue(request)?;
        let path = self.dir.dir(&format!("mount-{number}"))?;
        write_mount(&path, &set, &[], Layout::PerFileRename)?;
        let registry = self.broker.registry();
        let policy = format!("policy-{number}");
        registry.put_policy(&policy, document)?;
        let id = registry.register_pem(&set.certificate, &[policy.as_str()])?;
        if state != CertificateState::Active {
            registry.set_state(&id, state)?;
        }
        Ok(Mounted { path, id, policy })
    }

    /// Runs the doctor with these options on a mount; the broker is asked as `localhost`.
    pub(crate) async fn doctor(&self, mount: &Path, options: &[&str]) -> Result<FindingsReport> {
        let port = self.broker.local_addr().port();
        run(mount, port, options).await
    }

    /// The same with AWS to ask.
    pub(crate) async fn with_aws(&self, mount: &Path, options: &[&str]) -> Result<FindingsReport> {
        let url = self.control.url();
        let options = [&["--aws-endpoint", url.as_str()], options].concat();
        self.doctor(mount, &options).await
    }
}

/// Runs the doctor.
pub(crate) async fn run(mount: &Path, port: u16, options: &[&str]) -> Result<FindingsReport> {
    let mount = mount.to_str().context("a path of UTF-8")?;
    let port = port.to_string();
    let fixed = [
        "probe",
        "doctor",
        "-h",
        "localhost",
        "-p",
        &port,
        "--identity",
        mount,
        "--quiet",
    ];
    // The limits of the stages grow with it: a machine may have other things to do.
    let patient: &[&str] = match options.contains(&"-W") {
        true => &[],
        false => &["-W", "60"],
    };
    let given = patient.iter().chain(options).copied();
    let args = Args::try_parse_from(fixed.into_iter().chain(given))?;
    let Verb::Doctor(args) = args.command else {
        anyhow::bail!("not the doctor");
    };
    probe::doctor::report(&args)
        .await
        .map_err(|failure| anyhow::anyhow!("{failure:?}"))
}

/// Codes of warnings and errors, each once.
pub(crate) fn faults(report: &FindingsReport) -> Vec<u16> {
    let mut codes: Vec<u16> = report
        .findings
        .iter()
        .filter(|finding| finding.severity >= Severity::Warning)
        .map(|finding| finding.code.number())
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// The text of the first warning or error with a code.
pub(crate) fn told(report: &FindingsReport, code: u16) -> String {
    let found = report
        .findings
        .iter()
        .find(|finding| finding.code.number() == code && finding.severity >= Severity::Warning);
    found.map_or_else(
        || panic!("no MQ{code}: {:#?}", report.findings),
        |it| format!("{} {} {}", it.seen, it.why, it.next),
    )
}

/// Asserts that these faults were found and no others.
#[track_caller]
pub(crate) fn assert_faults(report: &FindingsReport, expected: &[u16]) {
    assert_eq!(faults(report), expected, "{:#?}", report.findings);
    let wrong = |it: &&Finding| it.severity >= Severity::Warning;
    for finding in report.findings.iter().filter(wrong) {
        assert!(
            !finding.why.is_empty() && !finding.next.is_empty(),
            "{finding:?}"
        );
    }
}
