//! `probe check`: goes through a connection stage by stage, says which one fails, and why.
//!
//! Here is the I/O; what an observation means is decided in [`finding`], without any.

pub mod finding;
mod network;
mod opening;
pub mod report;
pub mod stage;

use std::sync::Arc;
use std::time::Duration;

use link::cli::{Stdout, stdout_line};
use link::clock::{Clock, rfc3339_seconds};
use link::error::{ExitKind, Failure};
use link::id::ConsumerName;
use link::identity::Identity;
use link::iot::limits;
use link::message::Message;
use link::party::Party;
use serde_json::json;
use tokio::time::{Instant, timeout};

use self::finding::{Finding, Subject};
use self::opening::{Opening, of_lost};
use self::stage::{Outcome, Report, Stage};
use crate::args::CheckArgs;
use crate::connection::Connection;
use crate::output::{Format, note};
use crate::target::Target;

/// Runs the command; prints its own outcome.
///
/// # Errors
/// Only for a wrong command line or configuration, and for standard output that cannot be written.
pub async fn run(args: &CheckArgs) -> Result<Option<ExitKind>, Failure> {
    let mut target = Target::resolve(&args.connection)?;
    target.arn.account.clone_from(&args.account);
    let consumer = args
        .consumer
        .as_ref()
        .map(|name| ConsumerName::new(name.clone()))
        .transpose();
    let consumer = consumer.map_err(Failure::usage)?;
    let plan = Plan::of(args, &target, consumer.as_ref())?;
    if args.connection.id.is_some() && target.client_id.as_str().ends_with(AGENT_SUFFIX) {
        note(&format!(
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
        format: Format::of(args.json),
    };
    check.run().await
}

/// What is subscribed and published.
struct Plan {
    filters: Vec<String>,
    topic: String,
    /// Why the message cannot come back, if it cannot.
    one_way: Option<String>,
    party: Option<Party>,
}

struct Check {
    target: Target,
    subject: Subject,
    plan: Plan,
    within: Duration,
    until: Stage,
    format: Format,
}

/// What one stage hands to the next; a failure ends the check.
type Staged<T> = Result<T, Finding>;

// === impl Plan ===

impl Plan {
    fn of(
        args: &CheckArgs,
        target: &Target,
        consumer: Option<&ConsumerName>,
    ) -> Result<Self, Failure> {
        let Some(consumer) = consumer else {
            let topic = args
                .topic
                .clone()
                .unwrap_or_else(|| format!("test/probe/{}", target.client_id));
            return Ok(Self {
                filters: vec![topic.clone()],
                topic,
                one_way: None,
                party: None,
            });
        };
        let party = Party::agent(&target.scheme, consumer).map_err(Failure::misuse)?;
        Ok(Self {
            filters: party.subscribes().to_vec(),
            topic: target.scheme.agent_events(consumer),
            one_way: Some("an agent does not receive what it publishes".into()),
            party: Some(party),
        })
    }

    // Checked before the broker is asked: it would hang up instead of answering.
    fn broken_filter(&self) -> Option<Finding> {
        self.filters
            .iter()
            .find_map(|filter| limits::check_filter(filter).err())
            .map(|error| Finding::of_limit(&error))
    }
}

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
            format!("{address} {works} for client `{client}`")
        };
        let _ = self
            .format
            .print(text, || report::result_json(&reports, &subject.client_id))?;
        Ok(kind)
    }

    // The outer error is ours (standard output), the inner one the check's.
    async fn stages(&self, reports: &mut Vec<Report>) -> Result<Result<(), ExitKind>, Failure> {
        macro_rules! stage {
            ($stage:expr, $work:expr) => {{
                let started = Instant::now();
                match $work {
                    Ok((value, detail)) => {
                        self.show(reports, $stage, Outcome::Pass(detail), started.elapsed())?;
                        if $stage == self.until && $stage < Stage::Connect {
                            return Ok(Ok(()));
                        }
                        value
                    }
                    Err(finding) => {
                        let kind = finding.kind;
                        self.show(reports, $stage, Outcome::Fail(finding), started.elapsed())?;
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
        stage!(
            Stage::Tls,
            network::handshake(
                socket,
                &self.subject,
                &identity,
                &self.target.tls,
                self.within
            )
            .await
        );
        let broken_filter = self.plan.broken_filter();
        let filters = if broken_filter.is_some() || self.until == Stage::Connect {
            Vec::new()
        } else {
            self.plan.filters.clone()
        };
        let opening = Opening::start(&self.target, &identity, filters, self.within);
        let opening = stage!(Stage::Connect, opening.connected(&self.subject).await);
        if self.until == Stage::Connect {
            opening.close().await;
            return Ok(Ok(()));
        }
        let mut connection = stage!(
            Stage::Subscribe,
            match broken_filter {
                Some(finding) => Err(finding),
                None => opening.subscribed(&self.subject, &self.plan.filters).await,
            }
        );
        let outcome = self.exchange(&mut connection, reports).await;
        connection.close().await;
        outcome
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        reports: &mut Vec<Report>,
    ) -> Result<Result<(), ExitKind>, Failure> {
        if self.until == Stage::Subscribe {
            return Ok(Ok(()));
        }
        let mut message = Message::new(
            self.plan.topic.clone(),
            format!("probe check by {}", self.subject.client_id),
        );
        // Whoever else listens need not keep it.
        message.expiry_seconds = Some(EXPIRY_SECONDS);
        let payload = message.payload.clone();
        let started = Instant::now();
        let matched = match self.publish(connection, message).await {
            Ok(matched) => matched,
            Err(finding) => {
                let kind = finding.kind;
                self.show(
                    reports,
                    Stage::Publish,
                    Outcome::Fail(finding),
                    started.elapsed(),
                )?;
                return Ok(Err(kind));
            }
        };
        let listeners = if matched {
            ""
        } else {
            ", nobody is subscribed to it"
        };
        let detail = format!("`{}` acknowledged{listeners}", self.plan.topic);
        self.show(
            reports,
            Stage::Publish,
            Outcome::Pass(detail),
            started.elapsed(),
        )?;
        if self.until == Stage::Publish {
            return Ok(Ok(()));
        }
        if let Some(why) = &self.plan.one_way {
            self.show(
                reports,
                Stage::RoundTrip,
                Outcome::Skipped(why.clone()),
                Duration::ZERO,
            )?;
            return Ok(Ok(()));
        }
        let refused = Connection::refused(&connection.session, self.target.address());
        let arrived = tokio::select! {
            arrived = timeout(self.within, crate::ping::returned(&mut connection.inbound, &payload)) => match arrived {
                Ok(Some(at)) => Ok(at),
                Ok(None) | Err(_) => Err(Finding::silent(&self.plan.topic, matched, &self.subject)),
            },
            lost = refused => Err(of_lost(&lost, &self.subject, Stage::RoundTrip)),
        };
        match arrived {
            Ok(at) => {
                self.show(
                    reports,
                    Stage::RoundTrip,
                    Outcome::Pass("the message came back".into()),
                    at - started,
                )?;
                Ok(Ok(()))
            }
            Err(finding) => {
                let kind = finding.kind;
                self.show(
                    reports,
                    Stage::RoundTrip,
                    Outcome::Fail(finding),
                    started.elapsed(),
                )?;
                Ok(Err(kind))
            }
        }
    }

    async fn publish(&self, connection: &Connection, message: Message) -> Staged<bool> {
        let of_publish = |error| Finding::of_publish(&error, &self.subject);
        let refused = Connection::refused(&connection.session, self.target.address());
        let acknowledged = async {
            let receipt = connection
                .session
                .publish(message)
                .await
                .map_err(of_publish)?;
            receipt.await.map_err(of_publish)
        };
        tokio::select! {
            biased;
            ack = timeout(self.within, acknowledged) => match ack {
                Ok(ack) => ack.map(|ack| ack.matched),
                Err(_) => Err(Finding::publish_timeout(&self.plan.topic)),
            },
            lost = refused => Err(of_lost(&lost, &self.subject, Stage::Publish)),
        }
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
        let report = Report {
            stage,
            outcome,
            took,
        };
        let _ = self
            .format
            .print(|| report::text(&report), || report::json(&report))?;
        reports.push(report);
        Ok(())
    }

    fn show_needs(&self) -> Result<(), Failure> {
        let Some(party) = &self.plan.party else {
            return Ok(());
        };
        for (action, resource) in report::needs(&party.policy(&self.target.arn)) {
            let shown: Stdout = self.format.print(
                || format!("needs    {action:<16} {resource}"),
                || json!({"type": "needs", "action": action, "resource": resource}),
            )?;
            if shown == Stdout::Closed {
                break;
            }
        }
        if self.format == Format::Text {
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

// Long enough for a slow round trip.
const EXPIRY_SECONDS: u32 = 60;

// The end of every agent's client id (docs/MAESTRO.md §1.2).
const AGENT_SUFFIX: &str = "-work-agent-client";
