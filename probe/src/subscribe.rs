//! `probe subscribe`: shows what arrives, and acks what it has shown.

mod selection;
mod show;

use link::cli::Stdout;
use link::clock::Clock;
use link::error::{ExitKind, Failure, chain};
use link::iot::limits::ConnectionLimits;
use link::message::Message;
use link::mqtt::{Delivery, Qos, Session, State};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use self::selection::{Choice, Selection};
use self::show::Show;
use crate::args::SubscribeArgs;
use crate::connection::{Connection, ConnectionError, publish_hint, publish_kind};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::property::{Properties, Publishes};
use crate::received::Received;
use crate::session::SessionSettings;
use crate::target::{Target, TargetError};

/// Runs the command.
///
/// # Errors
/// A failure of the kind that the exit code tells.
pub async fn run(args: &SubscribeArgs) -> Result<(), Failure> {
    let output = Output::of(args.output);
    let show = Show::of(args, output)?;
    let properties = Properties::parse(&args.property, Publishes::No).map_err(Failure::misuse)?;
    let target = Target::resolve(&args.connection, output)?;
    let has_id = args.connection.id.is_some();
    let mut settings =
        SessionSettings::resolve(&args.session, &properties, has_id).map_err(Failure::misuse)?;
    settings.subscription.qos = match args.qos {
        Some(0) => Qos::AtMostOnce,
        _ => Qos::AtLeastOnce,
    };
    settings.subscription.retain_as_published = args.retain_as_published;
    let mut filters = args.topics.clone();
    filters.extend(target.topic.clone());
    check_filters(&filters, &args.filter_out)?;
    let identity = target.load_identity().map_err(Failure::misuse)?;
    let deadline = Instant::now() + args.timeout;
    let mut interrupt = Interrupt::listen();
    let open = Connection::open_until(
        interrupt.came(),
        &target,
        identity,
        filters.clone(),
        &settings,
        args.timeout,
    );
    let opened = open.await.map_err(|error| error.into_failure(&target))?;
    let Some(mut connection) = opened else {
        let address = target.address();
        return Err(Failure::new(ExitKind::Failed, Interrupted { address })
            .with_hint(INTERRUPTED.to_string()));
    };
    debug!("Subscribed to {}", quoted(&filters));
    if args.exit_when_subscribed {
        connection.close().await;
        return Ok(());
    }
    let listening = Listening {
        args,
        output,
        show,
        selection: Selection::of(args),
        target: &target,
        filters: &filters,
        deadline,
    };
    let outcome = listening.run(&mut connection, &mut interrupt).await;
    connection.close().await;
    outcome
}

/// Told to end before it was subscribed.
#[derive(Debug, thiserror::Error)]
#[error("connect to `{address}`: interrupted before it was subscribed")]
struct Interrupted {
    address: String,
}

/// Fewer messages came than were asked for.
#[derive(Debug, thiserror::Error)]
enum TooFewMessages {
    #[error("no message on {filters} within {seconds} s")]
    None { filters: String, seconds: f32 },
    #[error("{seen} of {wanted} messages on {filters} within {seconds} s")]
    Some {
        seen: u64,
        wanted: u64,
        filters: String,
        seconds: f32,
    },
}

struct Listening<'a> {
    args: &'a SubscribeArgs,
    output: Output,
    show: Show,
    selection: Selection<'a>,
    target: &'a Target,
    filters: &'a [String],
    deadline: Instant,
}

enum Happened {
    Delivery(Option<Delivery>),
    Refused(ConnectionError),
    Gap(String),
    Late,
    Interrupted,
}

// === impl Listening ===

impl Listening<'_> {
    async fn run(
        &self,
        connection: &mut Connection,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        let clock = Clock::system();
        let session = connection.session.clone();
        let refused = Connection::refused(&session, self.target.address());
        let mut refused = std::pin::pin!(refused);
        let mut seen = 0;
        let mut epoch = session.state().borrow().epoch();
        loop {
            let happened = tokio::select! {
                biased;
                () = interrupt.came() => Happened::Interrupted,
                delivery = connection.inbound.recv() => Happened::Delivery(delivery),
                error = &mut refused => Happened::Refused(error),
                reason = gap(&session, &mut epoch) => Happened::Gap(reason),
                () = sleep_until(self.deadline) => Happened::Late,
            };
            match happened {
                Happened::Delivery(Some(delivery)) => {
                    let received = Received::of(&delivery, clock.now());
                    log(&received);
                    let choice = self.selection.choose(received.message);
                    let shown = match choice {
                        Choice::Show { .. } => self.show.show(&received)?,
                        Choice::Hide | Choice::End => Stdout::Open,
                    };
                    if choice.clears() {
                        self.clear(&session, &received.message.topic).await?;
                    }
                    seen += u64::from(matches!(choice, Choice::Show { .. }));
                    delivery.ack();
                    let enough = self.args.count == Some(seen) || matches!(choice, Choice::End);
                    if shown == Stdout::Closed || enough {
                        return Ok(());
                    }
                }
                Happened::Delivery(None) => {
                    return Err(ConnectionError::Closed.into_failure(self.target));
                }
                Happened::Refused(error) => return Err(error.into_failure(self.target)),
                Happened::Gap(reason) => self.output.note(&format!(
                    "{reason}; messages sent meanwhile did not arrive here"
                )),
                // Whoever ends it has seen enough; the DISCONNECT keeps the broker from publishing a will.
                Happened::Interrupted => return Ok(()),
                Happened::Late => return self.late(seen),
            }
        }
    }

    /// Clears what the broker retained on a topic, by an empty message.
    async fn clear(&self, session: &Session, topic: &str) -> Result<(), Failure> {
        let message = Message {
            retain: true,
            ..Message::new(topic, "")
        };
        let clearing = async { session.publish(message).await?.await };
        match timeout_at(self.deadline, clearing).await {
            Ok(Ok(_)) => {
                debug!("Cleared what was retained on `{topic}`");
                Ok(())
            }
            Ok(Err(error)) => {
                let hint = publish_hint(&error, &self.target.arn, true);
                Err(Failure::new(publish_kind(&error), error).with_hint(hint))
            }
            Err(_) => Err(ConnectionError::Timeout {
                address: self.target.address(),
                within: self.args.timeout,
            }
            .into_failure(self.target)),
        }
    }

    fn late(&self, seen: u64) -> Result<(), Failure> {
        let seconds = self.args.timeout.as_secs_f32();
        let filters = quoted(self.filters);
        let error = match self.args.count {
            Some(wanted) if seen > 0 => TooFewMessages::Some {
                seen,
                wanted,
                filters,
                seconds,
            },
            None if seen > 0 => return Ok(()),
            _ => TooFewMessages::None { filters, seconds },
        };
        let hint = "a message that is not allowed by `iot:Receive` is dropped without an error: run `probe doctor`, or give more time with `-W`";
        Err(Failure::new(ExitKind::Timeout, error).with_hint(hint.to_string()))
    }
}

fn check_filters(filters: &[String], filter_out: &[String]) -> Result<(), Failure> {
    if filters.is_empty() {
        return Err(Failure::misuse(TargetError::NoTopic));
    }
    let limits = ConnectionLimits::IOT_CORE;
    // Those of `-T` stay here, but one that is no filter would leave nothing out.
    for filter in filters.iter().chain(filter_out) {
        limits.check_filter(filter).map_err(Failure::misuse)?;
    }
    limits
        .check_subscription_count(filters.len())
        .map_err(Failure::misuse)
}

fn quoted(filters: &[String]) -> String {
    let filters: Vec<_> = filters.iter().map(|filter| format!("`{filter}`")).collect();
    filters.join(", ")
}

fn log(received: &Received<'_>) {
    let message = received.message;
    debug!(
        qos = received.qos(),
        retain = message.retain,
        packet_id = received.packet_id,
        bytes = message.payload.len(),
        "Received PUBLISH on `{}`",
        message.topic
    );
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

const INTERRUPTED: &str =
    "`probe doctor` with the same options says which hop does not answer, and why";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_given_and_those_of_both_kinds_are_filters() {
        let check = |filters: &[&str], filter_out: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let (filters, filter_out): (Vec<String>, Vec<String>) =
                (owned(filters), owned(filter_out));
            check_filters(&filters, &filter_out).map_err(|error| (error.kind(), error.to_string()))
        };
        assert_eq!(check(&["a/#"], &["a/b/#", "+"]), Ok(()));
        for (filters, filter_out, words) in [
            (&[] as &[&str], &[] as &[&str], "no topic given"),
            (&["a/#b"], &[], "filter `a/#b`"),
            (&["a"], &["a#"], "filter `a#`"),
        ] {
            let (kind, text) = check(filters, filter_out).unwrap_err();
            assert_eq!(kind, ExitKind::Usage);
            assert!(text.contains(words), "{text}");
        }
    }
}
