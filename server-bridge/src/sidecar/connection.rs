//! One connection of the server, from CONNACK to its end: events down, events up, and the answers to both.
//!
//! **Invariant:** a PUBLISH is acknowledged when the broker acknowledged it, and not before.
//! **Invariant:** nothing is read from a server that is ahead: its receive maximum and the bytes that wait bound it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use link::mqtt::SubscribeError;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::v5::{Packet, PublishAck, PublishAckReason, Subscribe, SubscribeAckReason};
use rmqtt_codec::{MqttPacket, types::Publish, types::QoS};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::end::ConnectionEnd;
use super::far::{Baseline, Far};
use super::handshake::{Frames, PacketWriter};
use super::lanes::Lanes;
use super::log::SidecarLine;
use super::metrics::{SidecarMetrics, Way};
use super::packet;
use super::up::Up;
use crate::event_log::EventLog;

/// A connection that was accepted.
pub(super) struct ServerConnection {
    pub(super) far: Arc<Far>,
    pub(super) metrics: SidecarMetrics,
    pub(super) log: EventLog<SidecarLine>,
    pub(super) check: link::admin::Check,
    pub(super) writer: PacketWriter,
    pub(super) lanes: Lanes,
    // How many events the server takes unacknowledged.
    pub(super) window: usize,
    // How long it may be silent.
    pub(super) patience: Duration,
    // Accepted filters of this connection.
    pub(super) filters: BTreeSet<String>,
    pub(super) hears: bool,
}

/// A SUBSCRIBE under way: what the broker says to it.
type Subscribing = BoxFuture<'static, (Asked, Baseline, Vec<SubscribeError>)>;

/// What a SUBSCRIBE asked for, with our own refusals.
struct Asked {
    packet_id: std::num::NonZeroU16,
    filters: Vec<(String, SubscribeAckReason)>,
    words: Option<String>,
}

// === impl ServerConnection ===

impl ServerConnection {
    /// Runs until it ends. `left` is cancelled when another connection takes its place, `stop` when the process stops.
    pub(super) async fn run(
        &mut self,
        frames: &mut Frames,
        up: &mut Up,
        left: &CancellationToken,
        stop: &CancellationToken,
    ) -> ConnectionEnd {
        up.begin();
        let mut heard_at = Instant::now();
        let mut wrote_at = Instant::now();
        let mut subscribing: Option<Subscribing> = None;
        let mut lost: BoxFuture<'static, ()> = std::future::pending().boxed();
        let mut give_up: Option<Instant> = None;
        loop {
            self.send_up(up);
            self.note(up);
            let drained = self.lanes.open() == 0 && up.sent() == 0;
            if give_up.is_some_and(|at| drained || Instant::now() >= at) {
                return ConnectionEnd::Stopped;
            }
            let writes = self.writer.waiting() > 0;
            let reads = self.lanes.has_room() && self.writer.waiting() < OUT_BYTES;
            let takes = self.hears && up.has_room() && give_up.is_none();
            if !reads {
                // Nothing can be heard meanwhile.
                heard_at = Instant::now();
            }
            let silent_at = heard_at + self.patience;
            tokio::select! {
                () = left.cancelled() => return ConnectionEnd::TakenOver,
                () = stop.cancelled(), if give_up.is_none() => {
                    give_up = Some(Instant::now() + DRAIN_WITHIN);
                }
                () = sleep_until(give_up.unwrap_or(silent_at)), if give_up.is_some() => {}
                written = self.writer.write(), if writes => match written {
                    Ok(()) => wrote_at = Instant::now(),
                    Err(_) => return ConnectionEnd::Broken,
                },
                () = sleep_until(wrote_at.max(heard_at) + self.patience), if writes => return ConnectionEnd::Stuck,
                (packet_id, result) = self.lanes.settled() => {
                    if let Some((packet, outcome)) = packet::settled(packet_id, &result) {
                        self.metrics.count(Way::Down, outcome);
                        self.answer(packet);
                    }
                }
                frame = frames.next(), if reads => {
                    heard_at = Instant::now();
                    let packet = match frame {
                        Some(Ok((MqttPacket::V5(packet), bytes))) => (packet, bytes),
                        Some(Ok(_)) => return ConnectionEnd::malformed("a packet of another protocol"),
                        Some(Err(error)) => return decode_end(&error),
                        None => return ConnectionEnd::Broken,
                    };
                    if give_up.is_some() && matches!(packet.0, Packet::Publish(_) | Packet::Subscribe(_)) {
                        // Not acknowledged: the server does it again where it connects next.
                        continue;
                    }
                    if let Err(end) = self.handle(packet.0, packet.1, up, &mut subscribing) {
                        return end;
                    }
                }
                () = sleep_until(silent_at), if reads => return ConnectionEnd::Silent,
                () = up.take(), if takes => {}
                (asked, baseline, refused) = confirmed(&mut subscribing) => {
                    subscribing = None;
                    self.subscribed(&asked, &refused);
                    lost = self.far.lost(&baseline);
                }
                () = &mut lost => return ConnectionEnd::Lost,
            }
        }
    }

    fn handle(
        &mut self,
        packet: Packet,
        bytes: u32,
        up: &mut Up,
        subscribing: &mut Option<Subscribing>,
    ) -> Result<(), ConnectionEnd> {
        match packet {
            Packet::Publish(publish) => self.publish(*publish, bytes),
            Packet::PublishAck(ack) => {
                self.acknowledged(&ack, up);
                Ok(())
            }
            Packet::Subscribe(subscribe) => {
                if subscribing.is_some() {
                    // The Go client waits for each SUBACK (docs/MAESTRO.md §1.1).
                    return Err(ConnectionEnd::protocol(
                        "a SUBSCRIBE before the SUBACK of the one before",
                    ));
                }
                *subscribing = Some(self.subscribe(subscribe)?);
                Ok(())
            }
            Packet::Unsubscribe(unsubscribe) => {
                for filter in &unsubscribe.topic_filters {
                    self.filters.remove(&**filter);
                }
                self.hears &= !self.filters.is_empty();
                let filters = unsubscribe.topic_filters.len();
                self.answer(packet::unsuback(unsubscribe.packet_id, filters));
                Ok(())
            }
            Packet::PingRequest => {
                self.answer(Packet::PingResponse);
                Ok(())
            }
            Packet::Disconnect(_) => Err(ConnectionEnd::Left),
            _ => Err(ConnectionEnd::protocol(
                "a packet that a client of QoS 1 never sends",
            )),
        }
    }

    fn publish(&mut self, publish: Publish, bytes: u32) -> Result<(), ConnectionEnd> {
        let (Some(packet_id), QoS::AtLeastOnce) = (publish.packet_id, publish.qos) else {
            return Err(ConnectionEnd::qos());
        };
        let properties = publish.properties.as_ref();
        if publish.topic.is_empty() || properties.is_some_and(|it| it.topic_alias.is_some()) {
            return Err(ConnectionEnd::alias());
        }
        let addressee = match self.far.rights.publish(&publish.topic) {
            Ok(addressee) => addressee,
            Err(words) => {
                let reason = PublishAckReason::NotAuthorized;
                self.refuse(packet_id, reason, "foreign", &words);
                return Ok(());
            }
        };
        match packet::message(publish) {
            Ok(message) => {
                let lane = self.far.index_of(&addressee);
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                self.lanes.push(lane, packet_id, message, bytes)
            }
            Err(words) => {
                let reason = PublishAckReason::ImplementationSpecificError;
                self.refuse(packet_id, reason, "unsupported", words);
                Ok(())
            }
        }
    }

    fn refuse(
        &mut self,
        packet_id: std::num::NonZeroU16,
        reason: PublishAckReason,
        outcome: &'static str,
        words: &str,
    ) {
        self.metrics.count(Way::Down, outcome);
        if let Some(held) = self.log.admit(SidecarLine::Down(outcome), None) {
            warn!(held_back = held, "Refused an event of the server: {words}");
        }
        self.answer(packet::puback(packet_id, reason, Some(words)));
    }

    fn subscribe(&mut self, subscribe: Subscribe) -> Result<Subscribing, ConnectionEnd> {
        if subscribe.id.is_some() {
            return Err(ConnectionEnd::identifier());
        }
        // The broker's own limit, which the sessions keep when they subscribe to these; the Go client has one or two.
        let asked = subscribe.topic_filters.iter();
        let further = asked.filter(|(filter, _)| !self.filters.contains(&**filter));
        if further.count() + self.filters.len() > FILTERS {
            return Err(ConnectionEnd::filters());
        }
        let mut words = None;
        let mut filters = Vec::new();
        for (filter, _) in subscribe.topic_filters {
            let filter = filter.to_string();
            match self.far.rights.subscribe(&filter) {
                Ok(()) => filters.push((filter, SubscribeAckReason::GrantedQos1)),
                Err(refusal) => {
                    if let Some(held) = self.log.admit(SidecarLine::Filter, None) {
                        warn!(
                            held_back = held,
                            "Refused a subscription of the server: {refusal}"
                        );
                    }
                    words.get_or_insert(refusal);
                    filters.push((filter, SubscribeAckReason::NotAuthorized));
                }
            }
        }
        let granted = filters.iter().filter(|(_, code)| is_granted(*code));
        self.filters
            .extend(granted.map(|(filter, _)| filter.clone()));
        let (far, wanted) = (self.far.clone(), self.filters.clone());
        let asked = Asked {
            packet_id: subscribe.packet_id,
            filters,
            words,
        };
        Ok(async move {
            let (baseline, refused) = far.hear(&wanted).await;
            (asked, baseline, refused)
        }
        .boxed())
    }

    fn subscribed(&mut self, asked: &Asked, refused: &[SubscribeError]) {
        let mut words = asked.words.clone();
        let status = asked.filters.iter().map(|(filter, code)| {
            let refusal = refused.iter().find(|error| error.filter == *filter);
            let Some(error) = refusal.filter(|_| is_granted(*code)) else {
                return *code;
            };
            if let Some(held) = self.log.admit(SidecarLine::Filter, None) {
                let hint = link::error::Hint::hint(error);
                warn!(
                    hint,
                    held_back = held,
                    "The broker refused a subscription of the server: {error}"
                );
            }
            words.get_or_insert(error.to_string());
            packet::refusal(error)
        });
        let status: Vec<_> = status.collect();
        for error in refused {
            self.filters.remove(&error.filter);
        }
        self.hears = !self.filters.is_empty();
        if self.hears {
            info!(
                filters = self.filters.len(),
                "The Maestro server has subscribed"
            );
            self.check.ok();
        }
        self.answer(packet::suback(asked.packet_id, status, words.as_deref()));
    }

    /// Sends what was taken, up to the server's window and what may wait to be written.
    fn send_up(&mut self, up: &mut Up) {
        while self.hears && self.writer.waiting() < OUT_BYTES {
            let Some((id, delivery)) = up.next(self.window) else {
                return;
            };
            let topic = &delivery.message.topic;
            let refused = match self.far.rights.speaker(topic) {
                None => Some(("foreign", None)),
                consumer => {
                    let encoded = self.writer.push(packet::publish(id, &delivery.message));
                    encoded.is_err().then_some(("too_large", consumer))
                }
            };
            if let Some((outcome, consumer)) = refused {
                // It would never pass: as if the server had taken it (MQTT 5, 3.1.2.11.4).
                self.metrics.count(Way::Up, outcome);
                if let Some(held) = self.log.admit(SidecarLine::Up(outcome), consumer.as_ref()) {
                    let consumer = consumer.as_ref().map(link::id::ConsumerName::as_str);
                    warn!(
                        consumer,
                        held_back = held,
                        "Dropped an event from `{topic}`: {outcome}"
                    );
                }
                up.acknowledge(id);
            }
        }
    }

    fn acknowledged(&self, ack: &PublishAck, up: &mut Up) {
        let taken = u8::from(ack.reason_code) < 0x80;
        if !up.acknowledge(ack.packet_id) {
            return;
        }
        let outcome = if taken { "acknowledged" } else { "refused" };
        self.metrics.count(Way::Up, outcome);
        if !taken && let Some(held) = self.log.admit(SidecarLine::Up(outcome), None) {
            let code = u8::from(ack.reason_code);
            warn!(
                held_back = held,
                "The server refused an event: 0x{code:02x}"
            );
        }
    }

    fn answer(&mut self, packet: Packet) {
        // A client's Maximum Packet Size smaller than an answer is its own affair: it gets none.
        if let Err(error) = self.writer.push(packet) {
            warn!("Could not answer the server: {error}");
        }
    }

    fn note(&self, up: &Up) {
        let (waiting, since) = up.waiting();
        self.metrics.note(Way::Up, waiting, since);
        let (waiting, since) = self.lanes.waiting();
        self.metrics.note(Way::Down, waiting, since);
    }
}

async fn confirmed(
    subscribing: &mut Option<Subscribing>,
) -> (Asked, Baseline, Vec<SubscribeError>) {
    match subscribing {
        Some(subscribing) => subscribing.await,
        None => std::future::pending().await,
    }
}

fn is_granted(code: SubscribeAckReason) -> bool {
    u8::from(code) < 0x80
}

fn decode_end(error: &DecodeError) -> ConnectionEnd {
    match error {
        DecodeError::MaxSizeExceeded { .. } => ConnectionEnd::too_large(),
        DecodeError::Io(_) => ConnectionEnd::Broken,
        _ => ConnectionEnd::malformed("it cannot be decoded"),
    }
}

// What may wait to be written before no more is taken from either side: a packet of the largest kind goes over it once.
const OUT_BYTES: usize = 256 * 1024;

// Filters of one connection, those of the SUBSCRIBE under way included.
const FILTERS: usize = link::iot::limits::FILTERS_PER_SUBSCRIBE;

// As long as a session's own goodbye.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);
