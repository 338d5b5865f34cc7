//! One client's session: what waits for it, what it has not acknowledged, what it subscribed to.
//!
//! A session outlives its connection by its expiry. Everything is behind one short lock that is never held
//! across an await; the connection's writer takes batches, everyone else only adds. While a client is away its
//! unacknowledged and waiting QoS 1 messages are *stored*; after its return they drain at the stored rate beside
//! live traffic (docs/IOT-CORE.md §1.2, §2 points 16 and 17).

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmqtt_codec::types::QoS;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::confirmation::Confirmation;
use super::environment::Environment;
use super::faults::{FaultSettings, hits};
use super::limits::Quotas;
use super::live::Link;
use super::lock;
use super::packet::{Message, Outbound, SubscribeOptions, Version};

use self::state::{Pace, State, earlier};

mod state;

/// A message on its way to one session.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// Made by the fault that duplicates; it is not duplicated again.
    pub(super) copy: bool,
    /// Of a direct message: who waits for its acknowledgement. It is not kept for a client that is away.
    pub(super) confirmation: Option<Confirmation>,
}

/// The messages of a shared-subscription group without a connected member.
pub(super) type GroupQueue = Arc<Mutex<VecDeque<Delivery>>>;

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: Arc<str>,
    pub(super) version: Version,
    /// What lifecycle events call the session.
    pub(super) identifier: Uuid,
    state: Mutex<State>,
    /// Something to send, or the link changed.
    pub(super) wake: Notify,
    /// The writer took control packets.
    pub(super) drained: Notify,
}

/// What a batch is made under.
pub(super) struct Terms<'a> {
    pub(super) environment: &'a Environment,
    pub(super) faults: &'a FaultSettings,
    /// Whether the policy grants Receive on the message's topic.
    pub(super) receives: &'a dyn Fn(&Message) -> bool,
}

/// What the writer should do after asking for a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another connection owns the session.
    Gone,
    /// Send what was added.
    Send,
    /// Wait for [`Session::wake`], at most until the given moment.
    Wait(Option<Instant>),
}

// === impl Session ===

impl Session {
    pub(super) fn new(
        client_id: Arc<str>,
        version: Version,
        quotas: &Quotas,
        now: Instant,
    ) -> Self {
        Self {
            client_id,
            version,
            identifier: Uuid::new_v4(),
            state: Mutex::new(State {
                link: None,
                expiry: Duration::ZERO,
                away_since: None,
                window: 0,
                control: VecDeque::new(),
                stored: VecDeque::new(),
                live: VecDeque::new(),
                groups: Vec::new(),
                in_flight: VecDeque::new(),
                waiting_bytes: 0,
                waiting_qos0: 0,
                last_id: 0,
                subscriptions: HashMap::new(),
                pace: Pace::new(quotas, now),
            }),
            wake: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Gives the session to a connection and returns the one that had it.
    pub(super) fn attach(
        &self,
        link: Arc<Link>,
        expiry: Duration,
        window: u16,
        environment: &Environment,
        now: Instant,
    ) -> Option<Arc<Link>> {
        let mut state = lock(&self.state);
        let old = state.link.take();
        if old.is_some() {
            state.store(environment);
        }
        state.link = Some(link);
        state.expiry = expiry;
        state.away_since = None;
        state.window = usize::from(window);
        state.pace = Pace::new(&environment.quotas, now);
        drop(state);
        self.wake.notify_one();
        self.drained.notify_one();
        old
    }

    /// Ends a connection's hold; false when another one has the session by now.
    pub(super) fn detach(&self, link: u64, environment: &Environment, now: Instant) -> bool {
        let mut state = lock(&self.state);
        if state.link.as_ref().map(|link| link.id) != Some(link) {
            return false;
        }
        state.link = None;
        state.away_since = Some(now);
        state.store(environment);
        true
    }

    /// The connection that has the session.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        lock(&self.state).link.clone()
    }

    /// Whether it has a connection.
    pub(super) fn is_connected(&self) -> bool {
        lock(&self.state).link.is_some()
    }

    /// Whether it outlives its connection.
    pub(super) fn is_persistent(&self) -> bool {
        !lock(&self.state).expiry.is_zero()
    }

    /// How long it outlives its connection.
    pub(super) fn expiry(&self) -> Duration {
        lock(&self.state).expiry
    }

    /// Changes the expiry, as a DISCONNECT may.
    pub(super) fn set_expiry(&self, expiry: Duration) {
        lock(&self.state).expiry = expiry;
    }

    /// Whether it ended. IoT Core ends sessions up to 30 minutes late, never early (docs/IOT-CORE.md §1.2); here they
    /// end in time.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        state
            .away_since
            .is_some_and(|since| now.saturating_duration_since(since) >= state.expiry)
    }

    /// Queues an answer; returns how many wait.
    pub(super) fn answer(&self, link: u64, packet: Outbound) -> usize {
        let mut state = lock(&self.state);
        if state.link.as_ref().map(|link| link.id) != Some(link) {
            return 0;
        }
        state.control.push_back(packet);
        let waiting = state.control.len();
        drop(state);
        self.wake.notify_one();
        waiting
    }

    /// Answers that the writer has not taken.
    pub(super) fn answers_waiting(&self) -> usize {
        lock(&self.state).control.len()
    }

    /// PUBACKs that the writer has not taken: messages the client counts as unacknowledged.
    pub(super) fn acks_waiting(&self) -> usize {
        let state = lock(&self.state);
        state
            .control
            .iter()
            .filter(|packet| matches!(packet, Outbound::PubAck(..)))
            .count()
    }

    /// Messages waiting or unacknowledged.
    pub(super) fn backlog(&self) -> usize {
        let state = lock(&self.state);
        state.stored.len() + state.live.len() + state.in_flight.len()
    }

    /// The filters subscribed to.
    pub(super) fn subscriptions(&self) -> Vec<(String, SubscribeOptions)> {
        let state = lock(&self.state);
        state
            .subscriptions
            .iter()
            .map(|(filter, options)| (filter.clone(), *options))
            .collect()
    }

    /// Enters a subscription; `None` when the session has no room, else whether it is new.
    pub(super) fn subscribe(
        &self,
        filter: &str,
        options: SubscribeOptions,
        room: usize,
    ) -> Option<bool> {
        let mut state = lock(&self.state);
        let new = !state.subscriptions.contains_key(filter);
        if new && state.subscriptions.len() >= room {
            return None;
        }
        state.subscriptions.insert(filter.to_owned(), options);
        Some(new)
    }

    /// Removes a subscription; whether there was one.
    pub(super) fn unsubscribe(&self, filter: &str) -> bool {
        lock(&self.state).subscriptions.remove(filter).is_some()
    }

    /// Joins a group's queue.
    pub(super) fn join(&self, queue: GroupQueue) {
        let mut state = lock(&self.state);
        if !state.groups.iter().any(|known| Arc::ptr_eq(known, &queue)) {
            state.groups.push(queue);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Leaves a group's queue.
    pub(super) fn leave(&self, queue: &GroupQueue) {
        lock(&self.state)
            .groups
            .retain(|known| !Arc::ptr_eq(known, queue));
    }

    /// Holds deliveries back from now on, as IoT Core may after a SUBACK.
    pub(super) fn hold(&self, until: Instant) {
        let mut state = lock(&self.state);
        state.pace.hold_until = state.pace.hold_until.max(until);
    }

    /// Adds a message; whether it found room. The newest is dropped when the queue is full, and QoS 0 is never
    /// kept for a client that is away.
    pub(super) fn enqueue(&self, delivery: Delivery, environment: &Environment) -> bool {
        let Environment {
            quotas, counters, ..
        } = environment;
        let mut state = lock(&self.state);
        let online = state.link.is_some();
        let size = delivery.message.payload.len();
        if delivery.qos == QoS::AtMostOnce {
            if !online {
                return false;
            }
            if state.waiting_qos0 >= quotas.queue_qos0 {
                counters.qos0_dropped.add(1);
                return false;
            }
        } else if state.stored.len() + state.live.len() >= quotas.queue_messages
            || state.waiting_bytes + size > quotas.queue_bytes
        {
            counters.queue_full.add(1);
            return false;
        }
        state.waiting_bytes += size;
        if !online {
            state.stored.push_back(delivery);
            return true;
        }
        state.waiting_qos0 += usize::from(delivery.qos == QoS::AtMostOnce);
        state.live.push_back(delivery);
        drop(state);
        self.wake.notify_one();
        true
    }

    /// Takes an acknowledgement; whether the id was in flight.
    pub(super) fn acknowledged(&self, packet_id: u16) -> bool {
        let sent = self.no_longer_in_flight(packet_id);
        if let Some(confirmation) = sent.as_ref().and_then(|sent| sent.confirmation.as_ref()) {
            confirmation.confirm();
        }
        sent.is_some()
    }

    /// Gives a message up that cannot be sent to this client.
    pub(super) fn given_up(&self, packet_id: u16) {
        self.no_longer_in_flight(packet_id);
    }

    fn no_longer_in_flight(&self, packet_id: u16) -> Option<Delivery> {
        let mut state = lock(&self.state);
        let at = state
            .in_flight
            .iter()
            .position(|sent| sent.packet_id.get() == packet_id)?;
        let sent = state.in_flight.remove(at)?;
        drop(state);
        self.wake.notify_one();
        Some(sent.delivery)
    }

    /// Fills `out` with up to [`BATCH`] packets that may be sent now.
    pub(super) fn take(
        &self,
        link: u64,
        now: Instant,
        terms: &Terms<'_>,
        out: &mut Vec<Outbound>,
    ) -> Next {
        let mut state = lock(&self.state);
        if state.link.as_ref().map(|link| link.id) != Some(link) {
            return Next::Gone;
        }
        if state.take_control(hits(&terms.faults.hold_acks, &self.client_id), out) {
            self.drained.notify_one();
        }
        let mut wake_at = None;
        if now < state.pace.hold_until {
            earlier(&mut wake_at, Some(state.pace.hold_until));
        } else {
            state.redeliver(now, terms, out, &mut wake_at);
            state.take_messages(now, terms, out, &mut wake_at);
        }
        if out.is_empty() {
            Next::Wait(wake_at)
        } else {
            Next::Send
        }
    }
}

// === impl Delivery ===

impl Delivery {
    /// Whether it is a direct message for which nobody waits any more.
    pub(super) fn is_abandoned(&self) -> bool {
        let confirmation = self.confirmation.as_ref();
        confirmation.is_some_and(Confirmation::is_abandoned)
    }

    pub(super) fn packet(&self, packet_id: Option<NonZeroU16>, now: Instant) -> Outbound {
        Outbound::Publish {
            packet_id,
            qos: self.qos,
            retain: self.retain,
            expiry_seconds: self.message.seconds_left(now),
            message: self.message.clone(),
        }
    }
}

// One TLS write of small messages stays well under a socket buffer, and an answer never waits for more
// than this many deliveries.
pub(super) const BATCH: usize = 64;

// A client may have 100 publishes unanswered; as much again for SUBACK, UNSUBACK and PINGRESP. A reader that
// sees more stops reading until the writer has caught up.
pub(super) const ANSWERS: usize = 200;
