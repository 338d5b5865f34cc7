//! `probe bench`: a known load through a broker, and what became of each message.
//!
//! Each connection publishes with QoS 1 to a topic of its own and receives what it published, so that one process sees both
//! ends by one clock. Messages are due at fixed moments whatever the broker does, and times are taken from those moments:
//! a broker that holds its publishers back does not look fast for that. IoT Core's rates are not kept on this side, because
//! what a broker does beyond them is what is measured; this program's own limits are (`args::bench`, `plan`).
//!
//! **Invariant:** every message that was due is counted once: due = sent + unsent, sent = acknowledged + throttled +
//! refused + unanswered, acknowledged = received of those + lost.

mod cost;
mod pace;
mod plan;
mod tally;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use link::error::{ExitKind, Failure, Hint};
use link::identity::Identity;
use link::iot::limits::{ACCOUNT_CONNECTS_PER_SECOND, PACKET_BYTES};
use serde_json::json;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use self::cost::Estimate;
use self::pace::Pace;
use self::plan::{Plan, PlanError};
use self::tally::{Sums, Tally};
use self::worker::{Run, Stop};
use crate::args::BenchArgs;
use crate::connection::{Connection, ConnectionError};
use crate::interrupt::Interrupt;
use crate::output::{Output, OutputFormat};
use crate::session::SessionSettings;
use crate::target::Target;

/// Runs the command.
///
/// # Errors
/// A failure of the kind that the exit code tells; any message that was not passed on is one.
pub async fn run(args: &BenchArgs) -> Result<Option<ExitKind>, Failure> {
    let output = Output::of(args.output);
    let target = Target::resolve(&args.connection, output)?;
    let plan = Arc::new(Plan::of(args).map_err(Failure::misuse)?);
    plan.check_ids(&target.client_id).map_err(Failure::misuse)?;
    let estimate = Estimate::of(&plan);
    if cost::is_aws(&target.host) {
        if !args.accept_aws_charges {
            return Err(Failure::misuse(charged(&target, &estimate)));
        }
        output.note(&estimate.to_string());
    }
    let identity = target.load_identity().map_err(Failure::misuse)?;
    let first = open(&target, &identity, &plan, 0, args.timeout)
        .await
        .map_err(|error| error.into_failure(&target))?;
    // A custom domain of IoT Core is known by its answer alone.
    let as_aws = first.session.packet_limit() == Some(PACKET_BYTES);
    if as_aws && !cost::is_aws(&target.host) && !cost::is_here(&target.host) {
        if !args.accept_aws_charges {
            first.close().await;
            return Err(Failure::misuse(charged(&target, &estimate)));
        }
        output.note(&estimate.to_string());
    }
    let connections = open_all(&target, &identity, &plan, first, args.timeout).await?;
    let sums = measure(&plan, connections, args.timeout).await?;
    finish(&plan, &sums, output)
}

/// Real IoT Core, and nobody said that it may cost something.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` is AWS IoT Core, which charges for each message: {estimate}")]
struct Charged {
    host: String,
    estimate: Estimate,
}

/// Not everything that was due was passed on.
#[derive(Debug, thiserror::Error)]
#[error("of {due} messages that were due {delivered} came through")]
struct NotPassedOn {
    due: u64,
    delivered: u64,
    hint: &'static str,
}

/// The task of a connection has panicked.
#[derive(Debug, thiserror::Error)]
#[error("the task of a connection has died, and with it what it had counted")]
struct Died(#[source] JoinError);

fn charged(target: &Target, estimate: &Estimate) -> Charged {
    Charged {
        host: target.host.clone(),
        estimate: estimate.clone(),
    }
}

async fn open(
    target: &Target,
    identity: &Arc<Identity>,
    plan: &Plan,
    number: u16,
    within: Duration,
) -> Result<Connection, ConnectionError> {
    let mut target = target.clone();
    target.client_id = plan.client_id(&target.client_id, number);
    let settings = SessionSettings {
        unpaced: true,
        ..SessionSettings::default()
    };
    let filters = vec![plan.topic(number)];
    Connection::open(&target, identity.clone(), filters, &settings, within).await
}

/// The first connection and all the others, a few at a time.
async fn open_all(
    target: &Target,
    identity: &Arc<Identity>,
    plan: &Arc<Plan>,
    first: Connection,
    within: Duration,
) -> Result<Vec<(u16, Connection)>, Failure> {
    let mut connections = vec![(0, first)];
    let mut numbers = 1..plan.connections;
    let mut opening = JoinSet::new();
    loop {
        while opening.len() < AT_ONCE
            && let Some(number) = numbers.next()
        {
            let (target, identity, plan) = (target.clone(), identity.clone(), plan.clone());
            opening.spawn(async move {
                let opened = open(&target, &identity, &plan, number, within).await;
                (number, opened)
            });
        }
        match opening.join_next().await {
            None => break,
            // They come in any order, and each has a topic of its own.
            Some(Ok((number, Ok(connection)))) => connections.push((number, connection)),
            Some(Ok((_, Err(error)))) => {
                let opened = connections.len();
                for (_, connection) in connections {
                    connection.close().await;
                }
                let failure = error.into_failure(target);
                let made = format!("{opened} of {} connections were made", plan.connections);
                let more = match failure.hint() {
                    Some(hint) => format!("{made}; {hint}"),
                    None => format!("{made}; lower `--connections`, or look at the broker's log"),
                };
                return Err(failure.with_hint(more));
            }
            Some(Err(error)) => return Err(Failure::new(ExitKind::Failed, error)),
        }
    }
    Ok(connections)
}

async fn measure(
    plan: &Arc<Plan>,
    connections: Vec<(u16, Connection)>,
    within: Duration,
) -> Result<Sums, Failure> {
    let interrupt = Interrupt::listen();
    let start = Instant::now();
    let run = Run {
        start,
        within,
        pace: Pace::of(plan, start),
        stop: Stop::default(),
    };
    let mut working = JoinSet::new();
    for (number, connection) in connections {
        working.spawn(worker::work(number, plan.clone(), connection, run.clone()));
    }
    gather(working, plan, &run, interrupt).await
}

/// The sums of all connections, or none at all when one of them has died.
async fn gather(
    mut working: JoinSet<Tally>,
    plan: &Plan,
    run: &Run,
    mut interrupt: Interrupt,
) -> Result<Sums, Failure> {
    let mut sums = Sums::default();
    loop {
        tokio::select! {
            done = working.join_next() => match done {
                None => return Ok(sums),
                Some(Ok(tally)) => sums.add(tally),
                // What it counted is lost, and sums without it would be wrong.
                Some(Err(error)) => return Err(Died(error).into()),
            },
            () = interrupt.came(), if sums.ended_after.is_none() => {
                let measured = run.start.elapsed().saturating_sub(plan.warm_up);
                sums.ended_after = Some(measured.min(plan.duration));
                run.stop.now();
            }
        }
    }
}

fn finish(plan: &Plan, sums: &Sums, output: Output) -> Result<Option<ExitKind>, Failure> {
    let failure = failure(sums);
    let _ = output.print(
        || sums.text(plan),
        || {
            let mut result = json!({"type": "result", "schema": SCHEMA, "ok": failure.is_none()});
            if let (Some(result), Some(failure)) = (result.as_object_mut(), &failure) {
                result.insert("error".into(), failure.to_string().into());
                result.insert("hint".into(), failure.hint().into());
                result.insert("exitCode".into(), failure.kind().code().into());
            }
            if let (Some(result), serde_json::Value::Object(rest)) =
                (result.as_object_mut(), sums.json(plan))
            {
                result.extend(rest);
            }
            result
        },
    )?;
    match failure {
        None => Ok(None),
        // The failure is in the result, which is the only one.
        Some(failure) if output.format == OutputFormat::Json => Ok(Some(failure.kind())),
        Some(failure) => Err(failure),
    }
}

/// What to say of what did not come through.
fn failure(sums: &Sums) -> Option<Failure> {
    if sums.is_good() {
        return None;
    }
    let kind = match sums.refused {
        0 => ExitKind::Failed,
        _ => ExitKind::Refused,
    };
    let error = NotPassedOn {
        due: sums.due,
        delivered: sums.delivered,
        hint: sums.hint(),
    };
    let hint = error.hint();
    Some(Failure::new(kind, error).with_hint(hint))
}

// === impl Charged ===

impl Hint for Charged {
    fn hint(&self) -> Option<String> {
        Some(
            "measure with `sandbox`, which answers as IoT Core does, or add `--accept-aws-charges`"
                .into(),
        )
    }
}

// === impl Died ===

impl Hint for Died {
    fn hint(&self) -> Option<String> {
        Some("this is a fault of this program: tell its makers what stands before".into())
    }
}

// === impl NotPassedOn ===

impl Hint for NotPassedOn {
    fn hint(&self) -> Option<String> {
        Some(self.hint.into())
    }
}

// === impl PlanError ===

impl Hint for PlanError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Messages { .. } | Self::Bytes { .. } => {
                "measure for a shorter time, at a lower rate or with smaller messages".into()
            }
            Self::ClientId { .. } => "give a shorter client id".into(),
        })
    }
}

/// Changes when a member of the result changes its meaning or goes.
const SCHEMA: &str = "maestro-bench/1";

// CONNECTs under way: a fraction of what the smallest AWS account takes in a second.
const AT_ONCE: usize = (ACCOUNT_CONNECTS_PER_SECOND / 6) as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_s_task_that_dies_ends_the_run_without_sums() {
        let plan = Plan {
            run: "0a1b2c3d".into(),
            connections: 3,
            rate: 10,
            size: 1024,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(1),
        };
        let start = Instant::now();
        let run = Run {
            start,
            within: Duration::from_secs(1),
            pace: Pace::of(&plan, start),
            stop: Stop::default(),
        };
        let done = || Tally::new(0, 0);
        let mut working = JoinSet::new();
        working.spawn(async move { done() });
        working.spawn(async move { done() });
        assert_eq!(
            gather(working, &plan, &run, Interrupt::listen())
                .await
                .unwrap()
                .due,
            0
        );

        let mut working = JoinSet::new();
        working.spawn(async move { done() });
        working.spawn(async { panic!("the panic's words") });
        // The others are not waited for.
        working.spawn(std::future::pending());
        let died = gather(working, &plan, &run, Interrupt::listen())
            .await
            .unwrap_err();
        assert_eq!(died.kind(), ExitKind::Failed);
        let said = died.to_string();
        assert!(said.contains("the panic's words"), "{said}");
    }
}
