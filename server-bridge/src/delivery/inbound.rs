//! Takes events from agents: checks who speaks for whom, commits, then acks (docs/ARCHITECTURE.md#the-way-up).
//!
//! **Invariant:** an event is acked when what it asks for is done, or when it is refused by its content. Any failure of
//! ours, whatever its class, is tried again in place until it passes or the bridge stops; it shows in the readiness
//! check `delivery`, and without the ack the broker keeps the event. What waits for its turn and is replaced
//! by a newer word counts as done: that one is acked when it is done.
//! **Invariant:** a member of a shared subscription that stops leaves it first and goes on for as long as something comes
//! (`inbound/unsubscribing.rs`): what the broker gave to it, it gives to nobody else.
//! **Invariant:** whatever one consumer sends, and whatever fails on it, leaves room for the others (`inbound/fair_queue.rs`).

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use link::backoff::Backoff;
use link::error::chain;
use link::event::{Event, check};
use link::id::ConsumerName;
use link::mqtt::IN_FLIGHT_WINDOW;
use link::telemetry::clip;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Context;
use super::health::Stuck;
use super::log::DeliveryLine;
use super::pacing::LONGEST;
use super::transport::{Incoming, SharedIntake};
use crate::store::{StatusUpdate, Store, StoreError};

mod act;
mod fair_queue;
mod understand;
mod unsubscribing;

use act::{Acted, act};
use fair_queue::{Enqueued, FairQueue};
use understand::{AgentRequest, EventRefusal, is_of_other_client, refusal, understand};
use unsubscribing::{Unsubscribing, left, moved};

/// Reads a status event that is kept elsewhere by the rules for those that come, or says why it would be refused.
pub(crate) fn status_of(
    consumer: &ConsumerName,
    event: &Event,
    at: Timestamp,
) -> Result<StatusUpdate, String> {
    understand::status_update(consumer, event, at).map_err(|refusal| refusal.reason)
}

/// One event that asks for something.
struct Job {
    consumer: ConsumerName,
    request: AgentRequest,
    incoming: Incoming,
    came: Instant,
}

/// Whose job is done, and what kind it was.
enum Done {
    Status(ConsumerName),
    /// The job that is left if it was the last part of a list: to answer it.
    Part(ConsumerName, Option<Box<Job>>),
    List(ConsumerName),
}

/// Takes events of the session with this index until `drain` is cancelled, and then what a shared subscription had
/// brought.
pub(super) async fn run<S: Store>(
    context: Context<S>,
    index: usize,
    intake: SharedIntake,
    drain: CancellationToken,
) {
    let mut intake = intake.lock().await;
    let mut fair_queue = FairQueue::new();
    // Once cancelled nothing is tried again.
    let give_up = CancellationToken::new();
    let mut taking = FuturesUnordered::new();
    let mut tidy = interval(TIDY);
    let mut open = true;
    let mut unsubscribing = None;
    loop {
        let now = Instant::now();
        // Whoever leaves answers at once the lists that only wait for their time.
        let all = if unsubscribing.is_some() {
            LONGEST
        } else {
            Duration::ZERO
        };
        while let Some(job) = fair_queue.due(now + all) {
            taking.push(take(&context, &give_up, job));
        }
        let due = fair_queue.next_due(now);
        let room = taking.len() + fair_queue.waiting() < IN_HAND;
        let idle = taking.is_empty() && fair_queue.waiting() == 0;
        tokio::select! {
            () = drain.cancelled(), if unsubscribing.is_none() => {
                if context.config.scheme.share().is_none() {
                    break;
                }
                unsubscribing = Some(Unsubscribing::begin(context.pool.at(index).unsubscribe()));
            }
            () = left(&mut unsubscribing, idle) => break,
            Some(done) = taking.next(), if !taking.is_empty() => {
                match done {
                    Done::Status(consumer) => {
                        if let Some(job) = fair_queue.stored(&consumer) {
                            taking.push(take(&context, &give_up, job));
                        }
                    }
                    Done::Part(consumer, list) => {
                        if let Some(job) = fair_queue.kept(&consumer) {
                            taking.push(take(&context, &give_up, job));
                        }
                        if let Some(list) = list {
                            wait_for_answer(&context, &mut fair_queue, *list);
                        }
                    }
                    Done::List(consumer) => fair_queue.answered(&consumer),
                }
                moved(&mut unsubscribing);
            }
            _ = tidy.tick() => fair_queue.forget_quiet(Instant::now()),
            () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
            incoming = intake.recv(), if open && room => match incoming {
                Some(incoming) => {
                    if let Some(job) = begin(&context, &mut fair_queue, incoming) {
                        taking.push(take(&context, &give_up, job));
                    }
                    moved(&mut unsubscribing);
                }
                // The session was shut down: nothing comes in any more.
                None => open = false,
            },
        }
    }
    give_up.cancel();
    // What is being committed is finished, so that the agent need not send it again. What waits is left to the broker.
    while taking.next().await.is_some() {}
}

/// Reads an event: gives it back if its turn is now; otherwise it waits, or is done already.
fn begin<S: Store>(
    context: &Context<S>,
    fair_queue: &mut FairQueue<Job>,
    incoming: Incoming,
) -> Option<Job> {
    // An operator's tool, not the agent: it asks for nothing, and nobody was heard.
    if check::is_check(&incoming.message) {
        accept(context, incoming, "check");
        return None;
    }
    // The broker tells of all clients of the account.
    if is_of_other_client(&incoming.message.topic) {
        accept(context, incoming, "other_client");
        return None;
    }
    let came = Instant::now();
    let at = context.clock.now();
    let understood = std::panic::catch_unwind(AssertUnwindSafe(|| {
        understand(&context.config, &incoming.message, at)
    }));
    let refused = match understood {
        Ok(Ok((consumer, request))) => {
            // What the broker says of an agent is no word of that agent.
            if !matches!(request, AgentRequest::Connection(_)) {
                context.last_seen.note(&consumer, at);
            }
            let job = Job {
                consumer: consumer.clone(),
                request,
                incoming,
                came,
            };
            let turn = match job.request {
                AgentRequest::Resync { .. } => {
                    wait_for_answer(context, fair_queue, job);
                    return None;
                }
                AgentRequest::Part(_) => fair_queue.part(&consumer, job),
                AgentRequest::Report(_) if !context.reports.admit(&consumer, came) => {
                    let refused = refusal("too_many_reports", "it reports of itself too often");
                    refuse(context, job.incoming, &refused);
                    return None;
                }
                AgentRequest::Status(_) | AgentRequest::Report(_) | AgentRequest::Connection(_) => {
                    fair_queue.status(&consumer, job, replaces)
                }
            };
            return match turn {
                Enqueued::Now(job) => Some(job),
                Enqueued::Waits => None,
                Enqueued::Replaces(older) => {
                    accept(context, older.incoming, "replaced");
                    None
                }
            };
        }
        Ok(Err(refused)) => refused,
        // Reading depends on nothing but the message: it would panic again.
        Err(_) => refusal("panicked", "reading it panicked"),
    };
    refuse(context, incoming, &refused);
    None
}

/// Lets a list wait for its turn to be answered.
fn wait_for_answer<S: Store>(context: &Context<S>, fair_queue: &mut FairQueue<Job>, job: Job) {
    let consumer = job.consumer.clone();
    let made_at = |job: &Job| match &job.request {
        AgentRequest::Resync { made_at, .. } => Some(*made_at),
        _ => None,
    };
    let in_parts =
        |job: &Job| matches!(&job.request, AgentRequest::Resync { joined, .. } if joined.is_some());
    let (late, made) = (in_parts(&job), made_at(&job));
    let Some(mut replaced) = fair_queue.list(&consumer, job) else {
        return;
    };
    // A list that came in parts over several sessions may be complete after a newer one came, whole or in parts.
    if late && made_at(&replaced) > made {
        match fair_queue.list(&consumer, replaced) {
            Some(older) => replaced = older,
            None => return,
        }
    }
    // What the newer list says is answered before the newer one is acked; this one is not needed.
    accept(context, replaced.incoming, "resync");
}

/// Whether a status says all that one said which waits: newer, of the same version of the same bundle, and neither of a
/// deletion; or a report, made later.
fn replaces(new: &Job, old: &Job) -> bool {
    let (new, old) = match (&new.request, &old.request) {
        (AgentRequest::Status(new), AgentRequest::Status(old)) => (new, old),
        (AgentRequest::Report(new), AgentRequest::Report(old)) => return new.made_at > old.made_at,
        _ => return false,
    };
    let alike = new.bundle_id == old.bundle_id && new.version == old.version;
    let newer = new.sequence_id.is_newer_than(Some(old.sequence_id));
    alike && !new.deleted && !old.deleted && newer.unwrap_or(false)
}

/// Does what one event asks for until it is done.
async fn take<S: Store>(context: &Context<S>, give_up: &CancellationToken, job: Job) -> Done {
    let Job {
        consumer,
        request,
        incoming,
        came,
    } = job;
    let mut list = None;
    match patiently(context, give_up, &consumer, &request).await {
        // Left to the broker, which delivers it to the next process.
        None => drop(incoming),
        Some(done) => {
            if matches!(request, AgentRequest::Status(_)) {
                let seconds = &context.metrics.status_seconds;
                seconds.observe(came.elapsed().as_secs_f64());
            }
            match done {
                // Acked when it is answered: until then its parts are kept, and whoever gets this one again answers.
                Ok(Acted::Whole(request)) => {
                    list = Some(Job {
                        consumer: consumer.clone(),
                        request,
                        incoming,
                        came,
                    });
                }
                Ok(Acted::Done(outcome)) => accept(context, incoming, outcome),
                Err(refused) => refuse(context, incoming, &refused),
            }
        }
    }
    match request {
        AgentRequest::Status(_) | AgentRequest::Report(_) | AgentRequest::Connection(_) => {
            Done::Status(consumer)
        }
        AgentRequest::Part(_) => Done::Part(consumer, list.map(Box::new)),
        AgentRequest::Resync { .. } => Done::List(consumer),
    }
}

/// Tries until it is done; `None` if the bridge stops before.
async fn patiently<S: Store>(
    context: &Context<S>,
    give_up: &CancellationToken,
    consumer: &ConsumerName,
    request: &AgentRequest,
) -> Option<Result<Acted, EventRefusal>> {
    let mut repair = None;
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST, Duration::MAX);
    let mut stuck: Option<Stuck> = None;
    loop {
        let attempt = act(context, consumer, request, &mut repair);
        let why = match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(done)) => return Some(done),
            // Many have something to say to the store, and it is their turn.
            Ok(Err(StoreError::Overloaded { .. })) => None,
            Ok(Err(failed)) => {
                let why = chain(&failed);
                if let Some(held_back) = context.log.admit(DeliveryLine::Store, None) {
                    warn!(%consumer, held_back, "Could not store what an agent sent yet: {}", clip(&why, ERROR_BYTES));
                }
                Some(why)
            }
            Err(_) => {
                if let Some(held_back) = context.log.admit(DeliveryLine::Panic, None) {
                    error!(%consumer, held_back, "Storing what an agent sent panicked; it is tried again");
                }
                Some("storing it panicked".into())
            }
        };
        match (&stuck, &why) {
            (Some(stuck), Some(why)) => stuck.because(why),
            (None, Some(why)) => stuck = Some(context.health.stuck(why)),
            (_, None) => stuck = None,
        }
        let pause = tokio::time::sleep(backoff.next_jittered(Duration::ZERO));
        give_up.run_until_cancelled(pause).await?;
    }
}

/// Acks and counts what is done.
fn accept<S: Store>(context: &Context<S>, incoming: Incoming, outcome: &'static str) {
    context.metrics.received.with_label_values(&[outcome]).inc();
    incoming.ack();
}

/// Acks, counts and explains what is refused by its content: sending it again would not make it better, and it must
/// not hold up what follows.
fn refuse<S: Store>(context: &Context<S>, incoming: Incoming, refused: &EventRefusal) {
    let EventRefusal { outcome, reason } = refused;
    context.metrics.received.with_label_values(&[outcome]).inc();
    let topic = &incoming.message.topic;
    let consumer = context
        .config
        .scheme
        .recognise(topic)
        .map(|(_, consumer)| consumer);
    if let Some(held_back) = context
        .log
        .admit(DeliveryLine::Event(outcome), consumer.as_ref())
    {
        let topic = clip(topic, TOPIC_BYTES);
        warn!(%topic, outcome, held_back, "Refused an event from an agent: {reason}");
    }
    incoming.ack();
}

/// Events in hand, at work or waiting for their turn: all that a session may receive without acks, and once more what
/// comes again on its next connection. Statuses are ordered by their sequence ids, so that arrival order need not be kept.
const IN_HAND: usize = 2 * IN_FLIGHT_WINDOW as usize;

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(10);
const TIDY: Duration = Duration::from_secs(60);

// What an agent sends is shown by its beginning: topics have 256 bytes at most.
const TOPIC_BYTES: usize = 256;
const ERROR_BYTES: usize = 300;
