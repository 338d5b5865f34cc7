//! `probe subscribe`: shows what arrives, and acks what it has shown.

use jiff::Timestamp;
use link::cli::Stdout;
use link::clock::Clock;
use link::error::{ExitKind, Failure, chain};
use link::iot::limits::ConnectionLimits;
use link::message::Message;
use link::mqtt::{Delivery, Session, State};
use tokio::time::{Instant, sleep_until};

use crate::args::SubscribeArgs;
use crate::connection::Connection;
use crate::output::{Format, note, raw_line};
use crate::target::Target;
use crate::view::View;

/// Runs the command.
///
/// # Errors
/// A failure of the kind that the exit code tells.
pub async fn run(args: &SubscribeArgs) -> Result<(), Failure> {
    let limits = ConnectionLimits::IOT_CORE;
    for filter in &args.topics {
        limits.check_filter(filter).map_err(Failure::misuse)?;
    }
    limits
        .check_subscription_count(args.topics.len())
        .map_err(Failure::misuse)?;
    let target = Target::resolve(&args.connection)?;
    let identity = target.load_identity().map_err(Failure::misuse)?;
    let deadline = Instant::now() + args.timeout;
    let mut connection = Connection::open(&target, identity, args.topics.clone(), args.timeout)
        .await
        .map_err(|lost| lost.into_failure(&target))?;
    let outcome = listen(args, &target, &mut connection, deadline).await;
    connection.close().await;
    outcome
}

/// Fewer messages came than were asked for.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("no message on {filters} within {seconds} s")]
    Nothing { filters: String, seconds: f32 },
    #[error("{seen} of {wanted} messages on {filters} within {seconds} s")]
    TooFew {
        seen: u64,
        wanted: u64,
        filters: String,
        seconds: f32,
    },
}

enum Step {
    Delivery(Option<Delivery>),
    Refused(crate::connection::Lost),
    Gap(String),
    Late,
}

async fn listen(
    args: &SubscribeArgs,
    target: &Target,
    connection: &mut Connection,
    deadline: Instant,
) -> Result<(), Failure> {
    let clock = Clock::system();
    let session = connection.session.clone();
    let refused = Connection::refused(&session, target.address());
    let mut refused = std::pin::pin!(refused);
    let mut seen = 0;
    let mut epoch = session.state().borrow().epoch();
    loop {
        let step = tokio::select! {
            biased;
            delivery = connection.inbound.recv() => Step::Delivery(delivery),
            lost = &mut refused => Step::Refused(lost),
            reason = gap(&session, &mut epoch) => Step::Gap(reason),
            () = sleep_until(deadline) => Step::Late,
        };
        match step {
            Step::Delivery(Some(delivery)) => {
                let shown = show(args, &delivery.message, clock.now())?;
                delivery.ack();
                seen += 1;
                if shown == Stdout::Closed || args.count == Some(seen) {
                    return Ok(());
                }
            }
            Step::Delivery(None) => {
                return Err(crate::connection::Lost::Closed.into_failure(target));
            }
            Step::Refused(lost) => return Err(lost.into_failure(target)),
            Step::Gap(reason) => note(&format!(
                "{reason}; messages sent meanwhile did not arrive here"
            )),
            Step::Late => return late(args, seen),
        }
    }
}

fn show(args: &SubscribeArgs, message: &Message, at: Timestamp) -> Result<Stdout, Failure> {
    if args.raw {
        let prefix = if args.verbose {
            format!("{} ", message.topic)
        } else {
            String::new()
        };
        return Ok(raw_line(&prefix, &message.payload)?);
    }
    let view = View::of(message, at);
    Ok(Format::of(args.json).print(|| view.text(), || view.json())?)
}

fn late(args: &SubscribeArgs, seen: u64) -> Result<(), Failure> {
    let seconds = args.timeout.as_secs_f32();
    let filters = args
        .topics
        .iter()
        .map(|filter| format!("`{filter}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let silence = match args.count {
        Some(wanted) if seen > 0 => Silence::TooFew {
            seen,
            wanted,
            filters,
            seconds,
        },
        None if seen > 0 => return Ok(()),
        _ => Silence::Nothing { filters, seconds },
    };
    let hint = "a message that is not allowed by `iot:Receive` is dropped without an error: run `probe check`, or give more time with `-W`";
    Err(Failure::new(ExitKind::Timeout, silence).with_hint(hint.to_string()))
}

// Resolves when the connection was lost and came back: without a stored session there is a hole between.
async fn gap(session: &Session, epoch: &mut Option<u64>) -> String {
    let mut state = session.state();
    let mut reason = "reconnected".to_string();
    loop {
        let now = state.borrow_and_update().clone();
        match now {
            State::Ready { epoch: now, .. } if *epoch != Some(now) => {
                *epoch = Some(now);
                return reason;
            }
            State::Waiting { error, .. } => {
                reason = format!("reconnected after: {}", chain(error.as_ref()));
            }
            _ => {}
        }
        if state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
