//! What the client library tells: a connection, a message, a ping.

use std::time::Duration;

use rumqttc::{ConnAck, Event, Outgoing as Sent, Packet, Publish, QoS};
use tokio::time::Instant;
use tracing::info;

use super::Driver;
use crate::mqtt::inbound::{Delivery, received};
use crate::mqtt::liveness::{Liveness, PING_INTERVAL};

impl Driver {
    /// Takes one event; `true` means that our DISCONNECT went out.
    pub(super) fn take(&mut self, event: Event, established: &mut Option<Instant>) -> bool {
        let now = Instant::now();
        match event {
            Event::Incoming(Packet::ConnAck(answer)) => {
                *established = Some(now);
                self.connected(&answer, now);
            }
            Event::Incoming(packet) => {
                self.reading.liveness.received(now);
                if let Packet::Publish(publish) = packet {
                    self.deliver(&publish);
                }
            }
            Event::Outgoing(Sent::Disconnect) => return true,
            Event::Outgoing(Sent::PingReq) => {
                self.reading.liveness.pinged(now);
                self.excuse_ping();
            }
            // Acks reach the pump as notices of tracked requests.
            Event::Outgoing(_) => self.reading.liveness.sent(now),
            Event::Auth(_) => {}
        }
        false
    }

    fn connected(&mut self, answer: &ConnAck, now: Instant) {
        self.silent_closes = 0;
        self.events.options.set_clean_start(false);
        let keep_alive = self.events.options.keep_alive();
        self.reading.liveness = Liveness::new(keep_alive, now);
        self.set_keep_alive(keep_alive.min(PING_INTERVAL));
        self.shared.metrics.connections.inc();
        if self.credentials.connected() {
            info!("The broker accepted the new certificate; it is in use");
        }
        let allowed = answer.properties.as_ref();
        let limit = allowed
            .and_then(|properties| properties.max_packet_size)
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        self.shared.set_packet_limit(limit);
        // A session that began with a CONNACK which was lost is kept too, and has none of our subscriptions.
        let unanswered = std::mem::take(&mut self.unanswered);
        let kept = answer.session_present && !unanswered;
        let mut number = 0;
        self.shared.connection.send_modify(|connection| {
            connection.number += 1;
            connection.up = true;
            connection.resumed = kept;
            // What a kept session is subscribed to is not known to a process that takes it up.
            if !kept || connection.number == 1 {
                connection.broker_session += 1;
            }
            number = connection.number;
        });
        self.shared.allow_acks(number);
        if kept {
            self.reading.queue.forget(&(self.session_since..number));
        } else {
            self.session_since = number;
        }
        info!(
            connection = number,
            resumed = kept,
            "Connected to the broker"
        );
        self.read_while_there_is_room();
    }

    fn deliver(&mut self, publish: &Publish) {
        self.shared.metrics.received.inc();
        let number = self.shared.connection.borrow().number;
        let packet_id = (publish.qos != QoS::AtMostOnce).then_some(publish.pkid);
        if let Some(packet_id) = packet_id {
            self.shared.expect_ack(packet_id);
        }
        let delivery = Delivery::new(received(publish), number, packet_id, self.shared.clone());
        self.reading.queue.push(delivery);
        self.read_while_there_is_room();
    }

    fn read_while_there_is_room(&mut self) {
        if self.reading.stop_when_full() {
            self.excuse_ping();
        }
    }

    /// While nothing is read the answer to a ping cannot come: without this the library would end the connection at its
    /// next ping.
    fn excuse_ping(&mut self) {
        if self.reading.is_stopped() && self.events.state.await_pingresp() {
            // It cannot fail for a PINGRESP, and asks for no packet in return.
            drop(self.events.state.handle_incoming_packet(Packet::PingResp));
        }
    }

    /// How often the library pings from now on.
    pub(super) fn set_keep_alive(&mut self, keep_alive: Duration) {
        let seconds = u16::try_from(keep_alive.as_secs()).unwrap_or(u16::MAX);
        self.events.options.set_keep_alive(seconds);
    }
}
