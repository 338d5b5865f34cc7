//! Subscribes on every fresh broker session, then publishes in order behind the broker's limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rumqttc::{
    DisconnectProperties, DisconnectReasonCode, PublishNoticeError, PublishOptions, PublishResult,
    QoS, SubscribeFilter, SubscribeNoticeError,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::options::publish_properties;
use super::pace::Pace;
use super::reason::{PublishError, SubscribeError};
use super::session::{Ack, Outgoing, Qos};
use super::shared::{Connection, Shared};
use super::state::State;
use super::{Config, IN_FLIGHT_WINDOW};

pub(super) struct Pump {
    shared: Arc<Shared>,
    outgoing: mpsc::Receiver<Outgoing>,
    subscriptions: Vec<String>,
    filters_per_subscribe: usize,
    refused_delay: Duration,
    window: usize,
    pace: Pace,
    next_number: u64,
    // Taken from the queue or from `retry`, waiting for its turn.
    next: Option<(u64, Outgoing)>,
    // Handed to the library, by number.
    sent: BTreeMap<u64, Sent>,
    notices: FuturesUnordered<BoxFuture<'static, (u64, Result<PublishResult, PublishNoticeError>)>>,
    // Lost with a broker session; sent again before anything newer.
    retry: BTreeMap<u64, Outgoing>,
    subscribed_session: Option<u64>,
    // One of the messages up to this number makes the broker hang up: they go one at a time.
    suspects_until: Option<u64>,
}

struct Sent {
    outgoing: Outgoing,
    at: Instant,
}

enum Served {
    ConnectionLost,
    Drained,
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
            subscriptions: config.subscriptions.clone(),
            filters_per_subscribe: config.limits.filters_per_subscribe.max(1),
            refused_delay: config.reconnect.refused,
            window: usize::from(config.limits.in_flight.min(IN_FLIGHT_WINDOW)),
            pace: Pace::new(
                config.limits.publishes_per_second as usize,
                config.limits.bytes_per_second as usize,
            ),
            next_number: 0,
            next: None,
            sent: BTreeMap::new(),
            notices: FuturesUnordered::new(),
            retry: BTreeMap::new(),
            subscribed_session: None,
            suspects_until: None,
        }
    }

    pub(super) async fn run(mut self, drain: CancellationToken) {
        let mut changes = self.shared.connection.subscribe();
        loop {
            let connection = tokio::select! {
                up = changes.wait_for(|connection| connection.up) => match up {
                    Ok(connection) => *connection,
                    Err(_) => return,
                },
                () = drain.cancelled() => return,
            };
            self.resume(connection);
            if self.subscribed_session != Some(connection.broker_session) {
                let subscribed = tokio::select! {
                    subscribed = self.subscribe(connection) => subscribed,
                    _ = changes.wait_for(|now| *now != connection) => continue,
                    () = drain.cancelled() => return,
                };
                match subscribed {
                    Ok(true) => self.subscribed_session = Some(connection.broker_session),
                    Ok(false) => continue,
                    Err(error) => {
                        warn!(
                            hint = crate::error::Hint::hint(&error),
                            "Could not subscribe: {error}"
                        );
                        self.shared
                            .state
                            .send_replace(State::Unsubscribed(Arc::new(error)));
                        tokio::select! {
                            () = sleep(self.refused_delay) => {}
                            _ = changes.wait_for(|now| *now != connection) => {}
                            () = drain.cancelled() => return,
                        }
                        continue;
                    }
                }
            }
            self.shared.metrics.connected.inc();
            self.shared.state.send_replace(State::Ready {
                epoch: connection.number,
                resumed: connection.resumed,
            });
            let served = self.serve(connection, &drain).await;
            self.shared.metrics.connected.dec();
            match served {
                Served::ConnectionLost => {}
                Served::Drained => return self.disconnect(),
            }
        }
    }

    /// Settles what the old connection left behind before anything new goes out.
    fn resume(&mut self, connection: Connection) {
        let before = self.retry.len();
        self.settle_what_is_known();
        let now = Instant::now();
        for sent in self.sent.values_mut() {
            sent.at = now;
            self.pace.charge(sent.outgoing.message.metered_bytes(), now);
        }
        let Some(reason) = self.shared.take_message_fault() else {
            return;
        };
        let lost = self.retry.len() - before;
        if lost == 1 {
            if let Some((_, poison)) = self.retry.pop_first() {
                warn!(topic = %poison.message.topic, "Gave up on a message that ends the connection: {reason}");
                let error = PublishError::Poison {
                    topic: poison.message.topic.clone(),
                    reason,
                };
                self.resolve(poison, "poison", Err(error));
            }
        } else if let Some((last, _)) = self.retry.last_key_value() {
            info!(
                messages = lost,
                connection = connection.number,
                "Sending messages one at a time to find the one that ends the connection"
            );
            self.suspects_until = Some(*last);
        }
    }

    /// `Ok(false)` means that the connection went away meanwhile.
    async fn subscribe(&mut self, connection: Connection) -> Result<bool, SubscribeError> {
        for filters in self.subscriptions.chunks(self.filters_per_subscribe) {
            let request = filters
                .iter()
                .map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
            let Ok(notice) = self.shared.client.subscribe_many_tracked(request).await else {
                return Ok(false);
            };
            let answer = match timeout(ACK_DEADLINE, notice.wait_async()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(SubscribeNoticeError::V5SubAckFailure(codes))) => {
                    let refused = filters
                        .iter()
                        .zip(codes)
                        .find_map(|(filter, code)| SubscribeError::read(filter, code));
                    return refused.map_or(Ok(false), Err);
                }
                Ok(Err(_)) => return Ok(false),
                Err(_) => {
                    self.shared.ask_reconnect("no SUBACK");
                    return Ok(false);
                }
            };
            if let Some(refused) = filters
                .iter()
                .zip(answer.return_codes)
                .find_map(|(filter, code)| SubscribeError::read(filter, code))
            {
                return Err(refused);
            }
        }
        info!(
            connection = connection.number,
            filters = self.subscriptions.len(),
            "Subscribed"
        );
        Ok(true)
    }

    async fn serve(&mut self, connection: Connection, drain: &CancellationToken) -> Served {
        let mut changes = self.shared.connection.subscribe();
        let mut give_up: Option<Instant> = None;
        let mut asked = false;
        loop {
            let hold = self.send_what_may_go();
            if give_up.is_some()
                && self.sent.is_empty()
                && self.next.is_none()
                && self.outgoing.is_empty()
            {
                return Served::Drained;
            }
            let oldest = self.sent.values().next().map(|sent| sent.at + ACK_DEADLINE);
            tokio::select! {
                biased;
                _ = changes.wait_for(|now| *now != connection) => return Served::ConnectionLost,
                Some((number, result)) = self.notices.next(), if !self.notices.is_empty() => {
                    self.settle(number, result);
                    self.settle_what_is_known();
                }
                Some(outgoing) = self.outgoing.recv(), if self.next.is_none() && self.has_room() => {
                    self.next = Some(self.numbered(outgoing));
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
    fn send_what_may_go(&mut self) -> Option<Instant> {
        while self.has_room() {
            if self.next.is_none() {
                self.next = self.retry.pop_first().or_else(|| self.take_queued());
            }
            let (_, waiting) = self.next.as_ref()?;
            let size = waiting.message.metered_bytes();
            let now = Instant::now();
            if let Some(at) = self.pace.ready_at(size, now) {
                self.shared
                    .metrics
                    .throttled_seconds
                    .inc_by((at - now).as_secs_f64());
                return Some(at);
            }
            let (number, outgoing) = self.next.take()?;
            if outgoing.receipt.is_closed() && outgoing.qos == Qos::AtLeastOnce {
                continue;
            }
            self.pace.charge(size, now);
            self.send(number, outgoing, now);
        }
        None
    }

    fn take_queued(&mut self) -> Option<(u64, Outgoing)> {
        let outgoing = self.outgoing.try_recv().ok()?;
        Some(self.numbered(outgoing))
    }

    fn numbered(&mut self, outgoing: Outgoing) -> (u64, Outgoing) {
        let number = self.next_number;
        self.next_number += 1;
        (number, outgoing)
    }

    fn settle_what_is_known(&mut self) {
        while let Some(Some((number, result))) = self.notices.next().now_or_never() {
            self.settle(number, result);
        }
    }

    fn has_room(&self) -> bool {
        let suspicious = self.suspects_until.is_some_and(|last| {
            let first = self
                .next
                .as_ref()
                .map(|(number, _)| *number)
                .or_else(|| self.retry.keys().next().copied());
            first.is_some_and(|number| number <= last) || !self.sent.is_empty()
        });
        self.sent.len() < if suspicious { 1 } else { self.window }
    }

    fn send(&mut self, number: u64, outgoing: Outgoing, now: Instant) {
        let message = &outgoing.message;
        let qos = match outgoing.qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        let options = PublishOptions::new(qos)
            .retain(message.retain)
            .properties(publish_properties(message));
        match self.shared.client.try_publish_tracked(
            message.topic.clone(),
            message.payload.clone(),
            options,
        ) {
            Ok(notice) => {
                self.notices
                    .push(async move { (number, notice.wait_async().await) }.boxed());
                self.sent.insert(number, Sent { outgoing, at: now });
                self.shared.metrics.in_flight.inc();
            }
            Err(error) => {
                warn!(%error, "Could not hand a publish to the connection");
                self.retry.insert(number, outgoing);
            }
        }
    }

    fn settle(&mut self, number: u64, result: Result<PublishResult, PublishNoticeError>) {
        let Some(Sent { outgoing, at }) = self.sent.remove(&number) else {
            return;
        };
        self.shared.metrics.in_flight.dec();
        match result {
            Ok(PublishResult::Qos1(ack)) => {
                self.shared
                    .metrics
                    .publish_seconds
                    .observe(at.elapsed().as_secs_f64());
                match PublishError::read(&outgoing.message.topic, ack.reason) {
                    Ok(matched) => self.resolve(
                        outgoing,
                        if matched { "acked" } else { "unmatched" },
                        Ok(Ack { matched }),
                    ),
                    Err(error) => self.resolve(outgoing, "refused", Err(error)),
                }
            }
            Ok(_) => self.resolve(outgoing, "flushed", Ok(Ack { matched: true })),
            Err(_) => {
                self.retry.insert(number, outgoing);
                return;
            }
        }
        if self.suspects_until.is_some_and(|last| number >= last) {
            self.suspects_until = None;
        }
    }

    fn resolve(
        &self,
        outgoing: Outgoing,
        outcome: &'static str,
        result: Result<Ack, PublishError>,
    ) {
        self.shared
            .metrics
            .published
            .with_label_values(&[outcome])
            .inc();
        // A caller that dropped its receipt does not want to know.
        let _ = outgoing.receipt.send(result);
    }

    /// Ends the broker's session too: the next process starts clean, so queueing for it would only cost.
    fn disconnect(&self) {
        let properties = DisconnectProperties {
            session_expiry_interval: Some(0),
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        };
        if let Err(error) = self.shared.client.try_disconnect_now_with_properties(
            DisconnectReasonCode::NormalDisconnection,
            properties,
        ) {
            warn!(%error, "Could not queue the DISCONNECT");
        }
    }
}

// A healthy broker answers in milliseconds; a discarded publish is never answered on its connection.
const ACK_DEADLINE: Duration = Duration::from_secs(20);

// What is in flight at shutdown gets this long to be acknowledged.
pub(super) const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
