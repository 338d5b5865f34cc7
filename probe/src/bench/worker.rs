//! One connection at work: it sends what is due, and notes answers and what comes.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use link::message::Message;
use link::mqtt::{PublishError, Receipt, Session, State};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::pace::Pace;
use super::plan::Plan;
use super::tally::Tally;
use crate::connection::Connection;

/// What the connections of a run share.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) start: Instant,
    pub(super) within: Duration,
    pub(super) pace: Pace,
    pub(super) stop: Stop,
}

/// Whether somebody wants the run to end, and since when: nothing that is due later is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    asked: CancellationToken,
    at: Arc<OnceLock<Instant>>,
}

/// A message whose acknowledgement is waited for.
struct Unanswered {
    message: u64,
    due: Instant,
    receipt: Receipt,
    /// Given back with the answer.
    room: OwnedSemaphorePermit,
}

// === impl Run ===

impl Run {
    /// When the last answers have to be there.
    fn last(&self, plan: &Plan) -> Instant {
        self.start + plan.end() + self.within
    }
}

// === impl Stop ===

impl Stop {
    /// For all connections the same moment, or their numbers would not be those of one run.
    pub(super) fn now(&self) {
        let _ = self.at.set(Instant::now());
        self.asked.cancel();
    }

    /// Completes when it was asked for, with the moment.
    async fn asked(&self) -> Instant {
        self.asked.cancelled().await;
        *self.at.get_or_init(Instant::now)
    }

    /// Waits for the moment at which something is due; false if the run ends before it.
    async fn lets_come(&self, due: Instant) -> bool {
        tokio::select! {
            () = sleep_until(due) => self.at.get().is_none_or(|at| due < *at),
            // What was due by then goes all the same, late.
            at = self.asked() => due < at,
        }
    }
}

/// Does the part of one connection; ends when everything that was acknowledged has come, or `within` after the end. After
/// `stop` nothing more is due, and what was due has [`STOPPED_WITHIN`].
pub(super) async fn work(
    number: u16,
    plan: Arc<Plan>,
    mut connection: Connection,
    run: Run,
) -> Tally {
    let (start, stop) = (run.start, run.stop.clone());
    let tally = Tally::new(plan.first_of(number), plan.messages_of(number));
    let tally = Arc::new(Mutex::new(tally));
    let session = connection.session.clone();
    let (queue, unanswered) = mpsc::channel(UNANSWERED);
    let sending = tokio::spawn(send(
        number,
        plan.clone(),
        session.clone(),
        run.clone(),
        queue,
        tally.clone(),
    ));
    let sending = AbortOnDropHandle::new(sending);
    let mut answers = AbortOnDropHandle::new(tokio::spawn(answered(unanswered, tally.clone())));
    let watching = AbortOnDropHandle::new(tokio::spawn(watch(session, tally.clone())));
    let (mut open, mut last) = (true, run.last(&plan));
    let mut stopped = false;
    while open || !lock(&tally).is_settled() {
        tokio::select! {
            delivery = connection.inbound.recv() => {
                let Some(delivery) = delivery else { break };
                let at = Instant::now();
                if let Some(message) = plan.number(number, &delivery.message.payload) {
                    let due = start + plan.due(number, message);
                    lock(&tally).received(message, at.saturating_duration_since(due));
                }
                delivery.ack();
            }
            // After the last message everything is answered.
            _ = &mut answers, if open => open = false,
            at = stop.asked(), if !stopped => {
                stopped = true;
                last = last.min(at + run.within.min(STOPPED_WITHIN));
            }
            () = sleep_until(last) => break,
        }
    }
    drop((sending, answers, watching));
    connection.close().await;
    let mut tally = std::mem::take(&mut *lock(&tally));
    // All may be over before this connection has heard of it.
    if let Some(stopped) = stop.at.get() {
        tally.cut(plan.before(number, *stopped - start));
    }
    tally
}

async fn send(
    number: u16,
    plan: Arc<Plan>,
    session: Session,
    run: Run,
    queue: mpsc::Sender<Unanswered>,
    tally: Arc<Mutex<Tally>>,
) {
    let (topic, last) = (plan.topic(number), run.last(&plan));
    for message in 0..plan.messages_of(number) {
        let due = run.start + plan.due(number, message);
        if !run.stop.lets_come(due).await {
            return;
        }
        // What was held up goes late, within the limits, and its time counts from when it was due. What has no room by `last`
        // counts as unsent.
        let Some(room) = run.pace.room(last).await else {
            return;
        };
        let slot = run.pace.slot(Instant::now());
        if slot > last {
            return;
        }
        sleep_until(slot).await;
        let payload = plan.payload(number, message);
        // A broker that takes no more holds this up.
        let publish = session.publish(Message::new(topic.clone(), payload));
        let receipt = match timeout_at(last, publish).await {
            Ok(Ok(receipt)) => receipt,
            Ok(Err(PublishError::Closed)) | Err(_) => return,
            Ok(Err(_)) => {
                let mut tally = lock(&tally);
                tally.sent(message);
                tally.refused(message);
                continue;
            }
        };
        lock(&tally).sent(message);
        let unanswered = Unanswered {
            message,
            due,
            receipt,
            room,
        };
        if queue.send(unanswered).await.is_err() {
            return;
        }
    }
}

/// Acknowledgements come in the order of the messages.
async fn answered(mut unanswered: mpsc::Receiver<Unanswered>, tally: Arc<Mutex<Tally>>) {
    while let Some(Unanswered {
        message,
        due,
        receipt,
        room,
    }) = unanswered.recv().await
    {
        let answer = receipt.await;
        drop(room);
        let mut tally = lock(&tally);
        match answer {
            Ok(_) => tally.acknowledged(message, due.elapsed()),
            // Quota exceeded, and rate too high (MQTT 5, 2.4).
            Err(PublishError::Refused {
                code: 0x96 | 0x97, ..
            }) => tally.throttled(message),
            Err(PublishError::Closed) => {}
            Err(_) => tally.refused(message),
        }
    }
}

/// Counts how often the connection went.
async fn watch(session: Session, tally: Arc<Mutex<Tally>>) {
    let mut state = session.state();
    let mut seen = 0;
    loop {
        let now = state.borrow_and_update().clone();
        if let State::Ready { epoch, .. } = now {
            seen = epoch;
        } else if seen > 0 {
            lock(&tally).disconnected();
            seen = 0;
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

// Whoever presses Ctrl-C waits no longer than that for the last answers.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
// More than a session holds: two windows of 100 in its queue and one on the way (`link::mqtt`).
const UNANSWERED: usize = 512;
