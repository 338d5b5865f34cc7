//! `probe check`: goes through a connection stage by stage, says which one fails, and why.
//!
//! Here is the I/O; what an observation means is decided in [`finding`], without any.

mod exchange;
pub mod finding;
mod network;
mod plan;
pub mod report;
mod session;

use std::sync::Arc;
use std::time::Duration;

use link::cli::{Stdout, printable, stdout_line};
use link::clock::{Clock, rfc3339_seconds};
use link::error::{ExitKind, Failure};
use link::id::ConsumerName;
use link::identity::Identity;
use serde_json::json;
use tokio::time::Instant;

use self::finding::{Finding, Subject};
use self::plan::Plan;
use self::report::{Outcome, Report};
use self::session::PendingSession;
use crate::args::CheckArgs;
use crate::output::{Output, OutputFormat};
use crate::stage::Stage;
use crate::target::Target;

/// Runs the command; prints its own outcome.
///
/// # Errors
/// Only for a wrong command line or configuration, and for standard output that cannot be written.
pub async fn run(args: &CheckArgs) -> Result<Option<ExitKind>, Failure> {
    let output = Output::of(args.output);
    let mut target = Target::resolve(&args.connection, output)?;
    target.arn.account.clone_from(&args.account);
    let consumer = args
        .consumer
        .as_ref()
        .map(|name| ConsumerName::new(name.clone()))
        .transpose();
    let consumer = consumer.map_err(Failure::usage)?;
    let plan = Plan::of(args, &target, consumer.as_ref())?;
    if args.connection.id.is_some() && target.client_id.as_str().ends_with(AGENT_SUFFIX) {
        output.note(&format!(
            "`{}` is an agent's client id: an agent that is connected with it is thrown out now",
            target.client_id
        ));
    }
    let check = Check {
        subject: Subject {
            host: target.host.clone(),
            port: target.port,
            client_id: target.client_id.to_string(),
            arn: target.arn.clone(),
        },
        target,
        plan,
        within: args.timeout,
        until: args.until,
        output,
    };
    check.run().await
}

struct Check {
    target: Target,
    subject: Subject,
    plan: Plan,
    within: Duration,
    until: Stage,
    output: Output,
}

/// What one stage hands to the next; a failure ends the check.
type Staged<T> = Result<T, Finding>;

// === impl Check ===

impl Check {
    async fn run(self) -> Result<Option<ExitKind>, Failure> {
        let mut reports = Vec::with_capacity(Stage::ALL.len());
        let outcome = self.stages(&mut reports).await;
        if outcome.is_ok() {
            let failed = reports.iter().find_map(|report| match report.outcome {
                Outcome::Fail(_) => Some(report.stage.name()),
                _ => None,
            });
            let why = failed.map_or("not asked for".into(), |stage| {
                format!("after the failure at {stage}")
            });
            for stage in Stage::ALL.into_iter().skip(reports.len()) {
                let outcome = Outcome::Skipped(why.clone());
                self.show(&mut reports, stage, outcome, Duration::ZERO)?;
            }
        }
        let kind = outcome?.err();
        self.show_needs()?;
        let subject = &self.subject;
        let works = kind.map_or("works", |_| "does not work");
        let text = || {
            let (address, client) = (self.target.address(), &subject.client_id);
            printable(&format!("{address} {works} for client `{client}`"))
        };
        let _ = self
            .output
            .print(text, || report::result_json(&reports, &subject.client_id))?;
        Ok(kind)
    }

    // The outer error is ours (standard output), the inner one the check's.
    async fn stages(&self, reports: &mut Vec<Report>) -> Result<Result<(), ExitKind>, Failure> {
        macro_rules! stage {
            ($stage:expr, $work:expr) => {{
                let started = Instant::now();
                let done = $work;
                stage!($stage, done, started.elapsed())
            }};
            ($stage:expr, $done:expr, $took:expr) => {{
                let took = $took;
                match $done {
                    Ok((value, detail)) => {
                        self.show(reports, $stage, Outcome::Pass(detail), took)?;
                        if $stage == self.until && $stage < Stage::Connect {
                            return Ok(Ok(()));
                        }
                        value
                    }
                    Err(finding) => {
                        let kind = finding.kind;
                        self.show(reports, $stage, Outcome::Fail(finding), took)?;
                        return Ok(Err(kind));
                    }
                }
            }};
        }
        let identity = stage!(Stage::Files, self.files());
        let addresses = stage!(
            Stage::Dns,
            network::look_up(&self.subject, self.within).await
        );
        let socket = stage!(
            Stage::Tcp,
            network::dial(&addresses, &self.subject, &identity, self.within).await
        );
        let started = Instant::now();
        let shaken =
            network::handshake(socket, &self.target, &self.subject, &identity, self.within).await;
        let took = *shaken.as_ref().map_or(&started.elapsed(), |(took, _)| took);
        stage!(Stage::Tls, shaken, took);
        let broken_filter = self.plan.broken_filter();
        let filters = if broken_filter.is_some() || self.until == Stage::Connect {
            Vec::new()
        } else {
            self.plan.filters.clone()
        };
        let pending = PendingSession::start(&self.target, &identity, filters, self.within);
        let pending = stage!(Stage::Connect, pending.connected(&self.subject).await);
        if self.until == Stage::Connect {
            pending.close().await;
            return Ok(Ok(()));
        }
        let mut connection = stage!(
            Stage::Subscribe,
            match broken_filter {
                Some(finding) => Err(finding),
                None => pending.subscribed(&self.subject, &self.plan.filters).await,
            }
        );
        let outcome = self.exchange(&mut connection, reports).await;
        connection.close().await;
        outcome
    }

    fn files(&self) -> Staged<(Arc<Identity>, String)> {
        let identity = self
            .target
            .load_identity()
            .map_err(|error| Finding::of_identity(&error))?;
        let description = identity.describe();
        let days = description.time_left(Clock::system().now()).as_hours() / 24;
        let detail = format!(
            "`{}`, {}, SHA-256 {}, until {} ({days} days)",
            description.subject,
            description.key_kind,
            description.fingerprint,
            rfc3339_seconds(description.not_after),
        );
        Ok((identity, detail))
    }

    fn show(
        &self,
        reports: &mut Vec<Report>,
        stage: Stage,
        outcome: Outcome,
        took: Duration,
    ) -> Result<(), Failure> {
        let outcome = match outcome {
            Outcome::Fail(finding) => Outcome::Fail(finding.leading_on()),
            other => other,
        };
        let report = Report {
            stage,
            outcome,
            took,
        };
        let _ = self
            .output
            .print(|| report::text(&report), || report::json(&report))?;
        reports.push(report);
        Ok(())
    }

    fn show_needs(&self) -> Result<(), Failure> {
        let Some(party) = &self.plan.party else {
            return Ok(());
        };
        for (action, resource) in report::needs(&party.policy(&self.target.arn)) {
            let shown: Stdout = self.output.print(
                || format!("needs    {action:<16} {resource}"),
                || json!({"type": "needs", "action": action, "resource": resource}),
            )?;
            if shown == Stdout::Closed {
                break;
            }
        }
        if self.output.format == OutputFormat::Text && !self.output.quiet {
            let ids = party.client_ids();
            let ids = ids
                .iter()
                .map(|id| format!("`{id}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let _ = stdout_line(&format!("needs    client id        {ids}"))?;
        }
        Ok(())
    }
}

// The end of every agent's client id (docs/MAESTRO.md §1.2).
const AGENT_SUFFIX: &str = "-work-agent-client";
