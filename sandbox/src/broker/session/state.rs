//! What a session holds, and which message goes next.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use link::iot::limits::REDELIVERY;
use rmqtt_codec::types::QoS;
use tokio::time::Instant;

use super::{BATCH, Delivery, GroupQueue, Terms};
use crate::broker::counters::Counters;
use crate::broker::environment::Environment;
use crate::broker::faults;
use crate::broker::limits::Quotas;
use crate::broker::live::Link;
use crate::broker::lock;
use crate::broker::packet::{Outbound, SubscribeOptions};
use crate::broker::quota::Bucket;

/// Everything behind a session's lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) link: Option<Arc<Link>>,
    pub(super) expiry: Duration,
    pub(super) away_since: Option<Instant>,
    pub(super) window: usize,
    pub(super) control: VecDeque<Outbound>,
    pub(super) stored: VecDeque<Delivery>,
    pub(super) live: VecDeque<Delivery>,
    pub(super) groups: Vec<GroupQueue>,
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) waiting_bytes: usize,
    pub(super) waiting_qos0: usize,
    pub(super) last_id: u16,
    pub(super) subscriptions: HashMap<String, SubscribeOptions>,
    pub(super) pace: Pace,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) packet_id: NonZeroU16,
    pub(super) delivery: Delivery,
    pub(super) first_sent: Instant,
    pub(super) last_sent: Instant,
}

/// Rates of the current connection.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) publishes: Bucket,
    pub(super) bytes: Bucket,
    pub(super) stored: Bucket,
    pub(super) shared: Bucket,
    /// Nothing but control packets before this.
    pub(super) hold_until: Instant,
}

// === impl State ===

impl State {
    /// Turns what waits and what is unacknowledged into stored messages; QoS 0 and answers are lost.
    pub(super) fn store(&mut self, environment: &Environment) {
        self.control.clear();
        let unacknowledged: Vec<Delivery> = self
            .in_flight
            .drain(..)
            .map(|sent| sent.delivery)
            .filter(|d| !d.copy && d.confirmation.is_none())
            .collect();
        self.waiting_bytes += unacknowledged
            .iter()
            .map(|d| d.message.payload.len())
            .sum::<usize>();
        for delivery in unacknowledged.into_iter().rev() {
            self.stored.push_front(delivery);
        }
        for delivery in std::mem::take(&mut self.live) {
            if delivery.confirmation.is_some() {
                self.waiting_bytes -= delivery.message.payload.len();
            } else if delivery.qos == QoS::AtMostOnce {
                self.waiting_bytes -= delivery.message.payload.len();
                environment.counters.qos0_dropped.add(1);
            } else {
                self.stored.push_back(delivery);
            }
        }
        self.waiting_qos0 = 0;
        debug_assert!(self.stored.len() <= environment.quotas.queue_messages + self.window + 1);
    }

    pub(super) fn take_control(&mut self, hold_acks: bool, out: &mut Vec<Outbound>) -> bool {
        let before = out.len();
        if hold_acks {
            let (held, free): (VecDeque<_>, VecDeque<_>) = self
                .control
                .drain(..)
                .partition(|p| matches!(p, Outbound::PubAck(..)));
            self.control = held;
            out.extend(free);
        } else {
            out.extend(self.control.drain(..));
        }
        out.len() > before
    }

    pub(super) fn redeliver(
        &mut self,
        now: Instant,
        terms: &Terms<'_>,
        out: &mut Vec<Outbound>,
        wake_at: &mut Option<Instant>,
    ) {
        let limits = &terms.environment.limits;
        self.in_flight.retain(|sent| {
            if sent.delivery.is_abandoned() {
                return false;
            }
            let keep = now.saturating_duration_since(sent.first_sent) < REDELIVERY;
            terms.environment.counters.expired.add(u64::from(!keep));
            keep
        });
        for at in 0..self.in_flight.len() {
            let due = self.in_flight[at].last_sent + limits.redelivery_every;
            if now < due {
                earlier(wake_at, Some(due));
                continue;
            }
            if faults::happens(terms.faults.new_packet_id) {
                self.in_flight[at].packet_id = self.free_id();
            }
            let sent = &mut self.in_flight[at];
            sent.last_sent = now;
            terms.environment.counters.redelivered.add(1);
            terms.environment.counters.delivered.add(1);
            out.push(sent.delivery.packet(Some(sent.packet_id), now));
            earlier(wake_at, Some(now + limits.redelivery_every));
        }
    }

    pub(super) fn take_messages(
        &mut self,
        now: Instant,
        terms: &Terms<'_>,
        out: &mut Vec<Outbound>,
        wake_at: &mut Option<Instant>,
    ) {
        while out.len() < BATCH {
            if self.in_flight.len() >= self.window {
                return;
            }
            if let Some(ready) = self.pace.publishes.ready_at(now) {
                self.drop_throttled_qos0(&terms.environment.counters);
                if !(self.stored.is_empty() && self.live.is_empty() && self.groups_empty()) {
                    earlier(wake_at, Some(ready));
                }
                return;
            }
            let Some(delivery) = self.next(now, terms, wake_at) else {
                return;
            };
            if delivery.is_abandoned() {
                continue;
            }
            if delivery.message.seconds_left(now) == Some(0) {
                terms.environment.counters.expired.add(1);
                continue;
            }
            if !(terms.receives)(&delivery.message) {
                terms.environment.counters.receive_denied.add(1);
                continue;
            }
            self.pace.publishes.take(now);
            let pause = self.pace.bytes.charge(delivery.message.bytes(), now);
            self.send(delivery, now, terms, out);
            if !pause.is_zero() {
                self.pace.hold_until = now + pause;
                earlier(wake_at, Some(now + pause));
                return;
            }
        }
    }

    fn send(
        &mut self,
        delivery: Delivery,
        now: Instant,
        terms: &Terms<'_>,
        out: &mut Vec<Outbound>,
    ) {
        if !delivery.copy && faults::happens(terms.faults.duplicate) {
            self.waiting_bytes += delivery.message.payload.len();
            self.waiting_qos0 += usize::from(delivery.qos == QoS::AtMostOnce);
            self.live.push_front(Delivery {
                copy: true,
                ..delivery.clone()
            });
        }
        let packet_id = (delivery.qos != QoS::AtMostOnce).then(|| self.free_id());
        out.push(delivery.packet(packet_id, now));
        terms.environment.counters.delivered.add(1);
        if let Some(packet_id) = packet_id {
            self.in_flight.push_back(InFlight {
                packet_id,
                delivery,
                first_sent: now,
                last_sent: now,
            });
        }
    }

    /// Stored first while their rate allows, then those of groups, then live ones.
    fn next(
        &mut self,
        now: Instant,
        terms: &Terms<'_>,
        wake_at: &mut Option<Instant>,
    ) -> Option<Delivery> {
        if !self.stored.is_empty() {
            if self.pace.stored.take(now) {
                let delivery = self.stored.pop_front()?;
                self.waiting_bytes -= delivery.message.payload.len();
                return Some(delivery);
            }
            earlier(wake_at, self.pace.stored.ready_at(now));
        }
        if !self.groups_empty() {
            if self.pace.shared.take(now) {
                if let Some(delivery) = self.groups.iter().find_map(|queue| lock(queue).pop_front())
                {
                    return Some(delivery);
                }
            } else {
                earlier(wake_at, self.pace.shared.ready_at(now));
            }
        }
        if self.live.len() > 1 && faults::happens(terms.faults.reorder) {
            self.live.swap(0, 1);
        }
        let delivery = self.live.pop_front()?;
        self.waiting_bytes -= delivery.message.payload.len();
        self.waiting_qos0 -= usize::from(delivery.qos == QoS::AtMostOnce);
        Some(delivery)
    }

    /// Over the outgoing rate QoS 0 is discarded; QoS 1 waits (assumed: the source says "discarded" and that
    /// QoS 1 is retried, which looks the same to the client).
    fn drop_throttled_qos0(&mut self, counters: &Counters) {
        while self
            .live
            .front()
            .is_some_and(|delivery| delivery.qos == QoS::AtMostOnce)
        {
            if let Some(delivery) = self.live.pop_front() {
                self.waiting_bytes -= delivery.message.payload.len();
                self.waiting_qos0 -= 1;
                counters.qos0_dropped.add(1);
            }
        }
    }

    fn groups_empty(&self) -> bool {
        self.groups.iter().all(|queue| lock(queue).is_empty())
    }

    /// Ids go on counting over reconnects, so that a late acknowledgement of an old connection hits nothing.
    fn free_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.in_flight.iter().any(|sent| sent.packet_id == id)
            {
                return id;
            }
        }
    }
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(quotas: &Quotas, now: Instant) -> Self {
        Self {
            publishes: Bucket::new(quotas.publishes_per_second, now),
            bytes: Bucket::new(quotas.bytes_per_second, now),
            stored: Bucket::new(quotas.stored_per_second, now),
            shared: Bucket::new(quotas.shared_stored_per_second, now),
            hold_until: now,
        }
    }
}

pub(super) fn earlier(wake_at: &mut Option<Instant>, candidate: Option<Instant>) {
    *wake_at = match (*wake_at, candidate) {
        (Some(known), Some(candidate)) => Some(known.min(candidate)),
        (known, candidate) => known.or(candidate),
    };
}
