//! Subscribes on every fresh broker session, then publishes in order behind the broker's limits, and unsubscribes when
//! nothing more is to come in.
//!
//! **Invariant:** messages leave in the order of their numbers: what waits, for the pace or because it was lost with a
//! connection, waits in one map, and the lowest number is always next.
//! **Invariant:** what the client library cannot or may not send never reaches it: its receipt fails instead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rumqttc::{PublishNoticeError, PublishResult};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::pace::Pace;
use super::session::{Outgoing, Qos, fits_packet};
use super::shared::{Connection, Shared, Unsubscribing};
use super::state::{State, Subscriptions};
use super::{Config, IN_FLIGHT_WINDOW, SubscriptionOptions};
use crate::iot::limits::TOPIC_BYTES;
use crate::telemetry::clip;

mod handover;
mod notices;
mod resume;
mod subscribe;

pub(super) struct Pump {
    shared: Arc<Shared>,
    outgoing: mpsc::Receiver<Outgoing>,
    filters_per_subscribe: usize,
    subscription: SubscriptionOptions,
    keep_session: bool,
    refused_delay: Duration,
    window: usize,
    pace: Pace,
    next_number: u64,
    // Handed to the library, by number.
    sent: BTreeMap<u64, Sent>,
    notices: FuturesUnordered<BoxFuture<'static, (u64, Result<PublishResult, PublishNoticeError>)>>,
    // Not with the library, by number: the next message to send, and what was lost with a connection.
    waiting: BTreeMap<u64, Outgoing>,
    // From here on the broker could have answered: reading had stopped before.
    patience_from: Instant,
    // The broker's session with the filters that it has confirmed.
    subscribed: Option<Subscriptions>,
    // The connection whose predecessor's messages are settled.
    resumed: u64,
    // One of the messages up to this number makes the broker hang up: they go one at a time.
    suspects_until: Option<u64>,
}

struct Sent {
    outgoing: Outgoing,
    at: Instant,
}

enum Served {
    ConnectionLost,
    FiltersChanged,
    Drained,
}

/// Whether a SUBSCRIBE of this connection still waits for its SUBACK.
#[derive(Clone, Copy)]
enum Unanswered {
    No,
    Subscribe,
}

// === impl Pump ===

impl Pump {
    pub(super) fn new(
        config: &Config,
        shared: Arc<Shared>,
        outgoing: mpsc::Receiver<Outgoing>,
    ) -> Self {
        Self {
            shared,
            outgoing,
            filters_per_subscribe: config.limits.filters_per_subscribe.max(1),
            subscription: config.subscription,
            keep_session: config.keep_session,
            refused_delay: config.reconnect.refused,
            window: usize::from(config.limits.in_flight.min(IN_FLIGHT_WINDOW)),
            pace: Pace::new(
                config.limits.publishes_per_second as usize,
                config.limits.bytes_per_second as usize,
            ),
            next_number: 0,
            sent: BTreeMap::new(),
            notices: FuturesUnordered::new(),
            waiting: BTreeMap::new(),
            patience_from: Instant::now(),
            subscribed: None,
            resumed: 0,
            suspects_until: None,
        }
    }

    pub(super) async fn run(mut self, drain: CancellationToken) {
        if let Some(unanswered) = self.work(&drain).await {
            self.leave(unanswered).await;
        }
    }

    /// Until it is to stop, and with it the session; `None` when the driver is gone.
    async fn work(&mut self, drain: &CancellationToken) -> Option<Unanswered> {
        let mut changes = self.shared.connection.subscribe();
        let mut filters = self.shared.filters.subscribe();
        loop {
            let connection = tokio::select! {
                up = changes.wait_for(|connection| connection.up) => match up {
                    Ok(connection) => *connection,
                    Err(_) => return None,
                },
                () = drain.cancelled() => return Some(Unanswered::No),
            };
            if self.resumed != connection.number {
                self.resumed = connection.number;
                self.resume(connection);
            }
            let wanted = filters.borrow_and_update().clone();
            let missing = self.missing(connection, &wanted);
            let receives = *self.shared.unsubscribing.borrow() == Unsubscribing::No;
            if let (true, Some(missing)) = (receives, missing) {
                let subscribed = tokio::select! {
                    subscribed = self.subscribe(connection, &missing) => subscribed,
                    _ = changes.wait_for(|now| *now != connection) => continue,
                    () = drain.cancelled() => return Some(Unanswered::Subscribe),
                };
                match subscribed {
                    Ok(true) => self.note_subscribed(connection, missing),
                    Ok(false) => continue,
                    Err(error) => {
                        warn!(
                            hint = crate::error::Hint::hint(&error),
                            "Could not subscribe: {error}"
                        );
                        let refused = State::Unsubscribed(Arc::new(error));
                        if !self.shared.say(connection, refused) {
                            continue;
                        }
                        tokio::select! {
                            () = sleep(self.refused_delay) => {}
                            _ = changes.wait_for(|now| *now != connection) => {}
                            _ = filters.changed() => {}
                            () = drain.cancelled() => return Some(Unanswered::No),
                        }
                        continue;
                    }
                }
            }
            let ready = State::Ready {
                epoch: connection.number,
                resumed: connection.resumed,
            };
            if !self.shared.say(connection, ready) {
                continue;
            }
            self.shared.metrics.connected.inc();
            let served = self.serve(connection, &mut filters, drain).await;
            self.shared.metrics.connected.dec();
            match served {
                Served::ConnectionLost | Served::FiltersChanged => {}
                Served::Drained => return Some(Unanswered::No),
            }
        }
    }

    /// Disconnects, if there is a connection: without a DISCONNECT the driver would wait for one, and the broker would
    /// publish the will.
    async fn leave(self, unanswered: Unanswered) {
        if !self.shared.connection.borrow().up {
            return;
        }
        match (self.keep_session, unanswered) {
            // The next process starts clean, so queueing for it would only cost.
            (false, _) => self.shared.end_session(),
            (true, Unanswered::No) => {
                self.shared.leave_session();
                // The driver ends, and this task with it, when that is out. The library keeps it back for what was given up
                // here, and for acknowledgements of which it has lost count: a SUBSCRIBE while messages are in flight, and
                // acknowledgements in another order, make it skip packet ids.
                sleep(LEAVE_DEADLINE).await;
                self.shared.leave_session_at_once();
            }
            (true, Unanswered::Subscribe) => self.shared.leave_session_at_once(),
        }
    }

    async fn serve(
        &mut self,
        connection: Connection,
        filters: &mut watch::Receiver<Vec<String>>,
        drain: &CancellationToken,
    ) -> Served {
        let mut changes = self.shared.connection.subscribe();
        let mut reading = self.shared.reading.subscribe();
        let mut give_up: Option<Instant> = None;
        let mut asked = false;
        let leaving = self.unsubscribe_when_asked();
        tokio::pin!(leaving);
        let mut left = false;
        loop {
            let hold = self.send_what_may_go(connection);
            if give_up.is_some()
                && self.sent.is_empty()
                && self.waiting.is_empty()
                && self.outgoing.is_empty()
            {
                return Served::Drained;
            }
            let deadline = if *reading.borrow_and_update() {
                ACK_DEADLINE
            } else {
                UNREAD_DEADLINE
            };
            let oldest = self.sent.values().next();
            let oldest = oldest.map(|sent| sent.at.max(self.patience_from) + deadline);
            tokio::select! {
                biased;
                _ = changes.wait_for(|now| *now != connection) => return Served::ConnectionLost,
                Some((number, result)) = self.notices.next(), if !self.notices.is_empty() => {
                    self.settle(number, result);
                    self.settle_what_is_known();
                }
                _ = reading.changed() => self.patience_from = Instant::now(),
                _ = filters.changed() => return Served::FiltersChanged,
                () = &mut leaving, if !left => left = true,
                Some(outgoing) = self.outgoing.recv(), if self.waiting.is_empty() && self.has_room() => {
                    self.enqueue(outgoing);
                }
                () = sleep_until(hold.unwrap_or_else(Instant::now)), if hold.is_some() => {}
                () = sleep_until(oldest.unwrap_or_else(Instant::now)), if oldest.is_some() && !asked => {
                    asked = true;
                    self.shared.ask_reconnect("no PUBACK");
                }
                () = drain.cancelled(), if give_up.is_none() => give_up = Some(Instant::now() + DRAIN_DEADLINE),
                () = sleep_until(give_up.unwrap_or_else(Instant::now)), if give_up.is_some() => return Served::Drained,
            }
        }
    }

    /// Sends until the window, the pace or the queue stops it; returns when the pace allows the next.
    fn send_what_may_go(&mut self, connection: Connection) -> Option<Instant> {
        while self.has_room() {
            if self.waiting.is_empty() {
                let outgoing = self.outgoing.try_recv().ok()?;
                self.enqueue(outgoing);
            }
            let size = self.waiting.values().next()?.message.metered_bytes();
            let now = Instant::now();
            if let Some(at) = self.pace.ready_at(size, now) {
                self.shared
                    .metrics
                    .throttled_seconds
                    .inc_by((at - now).as_secs_f64());
                return Some(at);
            }
            let (number, outgoing) = self.waiting.pop_first()?;
            if outgoing.receipt.is_closed() && outgoing.qos == Qos::AtLeastOnce {
                continue;
            }
            // Measured again: it may have been queued before this broker said what it takes.
            if let Some(limit) = self.shared.packet_limit()
                && fits_packet(&outgoing.message, limit).is_err()
            {
                self.refuse(outgoing, limit);
                continue;
            }
            if !self.send(connection, number, outgoing, now) {
                return Some(now + HANDOVER_RETRY);
            }
            self.pace.charge(size, now);
        }
        None
    }

    fn enqueue(&mut self, outgoing: Outgoing) {
        self.waiting.insert(self.next_number, outgoing);
        self.next_number += 1;
    }

    fn has_room(&self) -> bool {
        let suspicious = self.suspects_until.is_some_and(|last| {
            let first = self.waiting.keys().next().copied();
            first.is_some_and(|number| number <= last) || !self.sent.is_empty()
        });
        self.sent.len() < if suspicious { 1 } else { self.window }
    }
}

// A topic may hold anything a caller gave.
fn shown(outgoing: &Outgoing) -> std::borrow::Cow<'_, str> {
    clip(&outgoing.message.topic, TOPIC_BYTES)
}

// A healthy broker answers in milliseconds; a discarded publish is never answered on its connection.
const ACK_DEADLINE: Duration = Duration::from_secs(20);

// While reading is stopped because the consumer is behind, acks wait behind what is not read. A consumer that waits for
// one of them would wait for ever, so there is an end to it.
const UNREAD_DEADLINE: Duration = Duration::from_secs(300);

// The library's queue is larger than the window, so it is never full; if it were, it is asked again after this.
const HANDOVER_RETRY: Duration = Duration::from_millis(100);

// A DISCONNECT behind the acks of the last moment is out by then.
pub(super) const LEAVE_DEADLINE: Duration = Duration::from_millis(500);

// What is in flight at shutdown gets this long to be acknowledged.
pub(super) const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
