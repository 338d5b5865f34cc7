//! The testing plan of the first deployment, on a laptop: a region with two management clusters in accounts of their
//! own, from an empty AWS to a bundle that arrives, with the real programs and what `provisioner` really hands over.
//!
//! [`run`] goes through the six phases of `docs/TESTING-END-TO-END.md` and tells of each what was looked at. A phase
//! stands on those before it, so the first that fails is the last. [`keep_environment`] only starts what lies under the phases, for
//! a person who goes through them by hand. [`OnNode`] does the same where server and agent are pods that our charts
//! installed on a real node.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::node::Node;
use crate::process::{Output, ProcessSpec};
use crate::region::{Agent, Service};
use crate::testbed::Testbed;

pub use self::environment::keep_environment;
pub use self::on_node::OnNode;

use self::component::Component;

mod component;
mod connectivity;
mod environment;
mod flow;
mod infrastructure;
mod mounting;
mod on_node;
mod services;

/// How to rehearse.
#[derive(Clone, Debug, Default)]
pub struct RehearsalOptions {
    /// Detach this management cluster's IoT policy before phase 3, behind the provisioner's back: the rehearsal of the
    /// rehearsal.
    pub sabotage: Option<String>,
    /// With server and agent in pods of a real node.
    pub node: bool,
}

/// What became of a phase.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    /// From 1, as in the plan.
    pub phase: usize,
    /// What it is about.
    pub title: &'static str,
    /// How it went.
    pub verdict: PhaseOutcome,
    /// What was looked at and found right.
    pub looked_at: Vec<String>,
    /// What was wrong, with its causes.
    pub error: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// How a phase went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PhaseOutcome {
    /// Everything was as it should be.
    Pass,
    /// Something was not.
    Fail,
    /// An earlier phase failed.
    Skipped,
}

/// What the phases share and leave to one another.
struct Rehearsal {
    testbed: Testbed,
    /// The server first, then the agents; from phase 2 on.
    components: Vec<Component>,
    /// The server's replicas; from phase 4 on.
    bridges: Vec<Service>,
    agents: Vec<(String, Agent)>,
    seen: Vec<String>,
    runs: AtomicUsize,
}

/// The six phases of a plan.
trait Plan {
    /// Goes through one.
    async fn phase(&mut self, phase: usize) -> Result<()>;

    /// What it found right.
    fn seen(&mut self) -> Vec<String>;
}

/// A rehearsal whose programs are processes of this machine.
struct Laptop<'a> {
    rehearsal: Rehearsal,
    sabotage: Option<&'a str>,
}

/// Goes through all phases and shows each as soon as it is over.
///
/// # Errors
/// When accounts and broker do not start. A phase that fails is no error but a report; so is a
/// machine that cannot have a node.
pub async fn run(
    options: &RehearsalOptions,
    show: impl FnMut(&PhaseReport),
) -> Result<Vec<PhaseReport>> {
    let sabotage = options.sabotage.as_deref();
    if options.node {
        let mut on_node = OnNode::new(sabotage);
        let reports = Box::pin(on_node.run(show)).await;
        if passed(&reports) {
            on_node.clear().await?;
            on_node.end();
        }
        return Ok(reports);
    }
    let rehearsal = Rehearsal::start(None).await?;
    let mut laptop = Laptop {
        rehearsal,
        sabotage,
    };
    let reports = walk(&mut laptop, show).await;
    if passed(&reports) {
        laptop.rehearsal.end();
    }
    Ok(reports)
}

async fn walk(plan: &mut impl Plan, mut show: impl FnMut(&PhaseReport)) -> Vec<PhaseReport> {
    let mut reports: Vec<PhaseReport> = Vec::new();
    for (index, title) in TITLES.into_iter().enumerate() {
        let phase = index + 1;
        let mut report = PhaseReport {
            phase,
            title,
            verdict: PhaseOutcome::Skipped,
            looked_at: Vec::new(),
            error: None,
            seconds: 0.0,
        };
        if reports
            .iter()
            .all(|report| report.verdict == PhaseOutcome::Pass)
        {
            let begun = Instant::now();
            let outcome = Box::pin(plan.phase(phase)).await;
            report.seconds = begun.elapsed().as_secs_f64();
            report.looked_at = plan.seen();
            report.verdict = match &outcome {
                Ok(()) => PhaseOutcome::Pass,
                Err(_) => PhaseOutcome::Fail,
            };
            report.error = outcome.err().map(|error| format!("{error:#}"));
        }
        show(&report);
        reports.push(report);
    }
    reports
}

/// Whether every phase passed.
pub fn passed(reports: &[PhaseReport]) -> bool {
    reports
        .iter()
        .all(|report| report.verdict == PhaseOutcome::Pass)
}

// === impl Laptop ===

impl Plan for Laptop<'_> {
    async fn phase(&mut self, phase: usize) -> Result<()> {
        let rehearsal = &mut self.rehearsal;
        match phase {
            1 => infrastructure::check(rehearsal).await,
            2 => mounting::check(rehearsal).await,
            3 => {
                if let Some(cluster) = self.sabotage {
                    connectivity::sabotage(rehearsal, cluster)?;
                }
                connectivity::check(rehearsal).await
            }
            4 => services::server(rehearsal).await,
            5 => services::agents(rehearsal).await,
            _ => Box::pin(flow::check(rehearsal)).await,
        }
    }

    fn seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.rehearsal.seen)
    }
}

// === impl Rehearsal ===

impl Rehearsal {
    /// On an empty AWS, whose broker and database are within reach of the node's pods, if there is one.
    async fn start(node: Option<&Node>) -> Result<Self> {
        let testbed = match node {
            Some(node) => {
                let clusters = [CLUSTERS[0], CLUSTERS[1], LATER];
                Box::pin(Testbed::within_reach(
                    "rehearsal-node",
                    &clusters,
                    node.host(),
                ))
                .await?
            }
            None => Box::pin(Testbed::with_database("rehearsal", &CLUSTERS)).await?,
        };
        Ok(Self {
            testbed,
            components: Vec::new(),
            bridges: Vec::new(),
            agents: Vec::new(),
            seen: Vec::new(),
            runs: AtomicUsize::new(0),
        })
    }

    /// Notes what was found right.
    fn saw(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }

    /// Runs the provisioner to its end.
    async fn provisioner(&self, args: &[&str]) -> Result<Output> {
        self.run(self.testbed.provisioner(args)?, "provisioner")
            .await
    }

    /// Runs the provisioner; it must succeed. Gives what it printed.
    async fn must(&self, args: &[&str]) -> Result<String> {
        let output = self.provisioner(args).await?;
        let command = format!("provisioner {}", args.join(" "));
        expect(&command, &output, 0)?;
        Ok(output.stdout)
    }

    /// Runs a program to its end, with logs of its own.
    async fn run(&self, spec: ProcessSpec, name: &str) -> Result<Output> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let logs = self.testbed.path().join("logs");
        std::fs::create_dir_all(&logs)?;
        let spec = spec.label(format!("{run:02}-{name}"));
        Ok(spec.run(&logs, PATIENCE).await?)
    }

    /// Does what RDS does when it makes the database: its user with the password of the secret.
    async fn make_database(&self) -> Result<()> {
        let database = self.testbed.database.as_ref();
        let database = database.context("there is a server behind RDS")?;
        let credentials = self.testbed.aws.secret("region", CREDENTIALS).await?;
        database.make(&credentials.with_context(|| format!("no secret `{CREDENTIALS}`"))?)
    }

    fn party(&self, name: &str) -> Result<&Component> {
        let found = self.components.iter().find(|party| party.name == name);
        found.with_context(|| format!("no party `{name}`"))
    }

    fn end(self) {
        let Self {
            testbed,
            bridges,
            agents,
            ..
        } = self;
        drop((bridges, agents));
        testbed.passed();
    }
}

/// The command must have ended with this code.
fn expect(command: &str, output: &Output, code: i32) -> Result<()> {
    ensure!(
        output.status.code() == Some(code),
        "`{command}` ended with {}, not {code}:\n{}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    Ok(())
}

/// The management clusters of the rehearsal.
pub const CLUSTERS: [&str; 2] = ["management-01", "management-02"];

/// On a node, an account whose cluster joins later, if at all.
pub const LATER: &str = "management-03";

/// Replicas of the server.
const REPLICAS: usize = 2;

/// The secret with the credentials of the database.
const CREDENTIALS: &str = "maestro/db-credentials";

/// The server's name among components, as `provisioner rotate` knows it.
const SERVER: &str = "server";

const TITLES: [&str; 6] = [
    "infrastructure and secrets",
    "secret mounting",
    "MQTT connectivity",
    "server",
    "agents",
    "end to end",
];

// A step takes a few seconds; this is for machines that do other things besides.
const PATIENCE: Duration = Duration::from_secs(120);
