//! Faults to switch on, so that the broker behaves as badly as IoT Core is allowed to (docs/IOT-CORE.md §2 points 16 and 18).
//!
//! All are off at first and take effect at once on live connections; those of [`Front`] on new ones. Probabilities are 0.0
//! to 1.0. In a set of clients `*` is every client.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use rand::RngExt as _;
use tokio::sync::watch;

pub use self::front::{AlpnRule, CertificateRefusal, Front, Handshake, Port, TlsVersion};

mod front;

/// Handle to the faults; clones change the same ones.
#[derive(Clone, Debug)]
pub struct Faults {
    settings: watch::Sender<Arc<FaultSettings>>,
    /// How the port looks by now, while connections are accepted.
    port: watch::Sender<Option<Port>>,
}

/// What goes wrong, and how often.
#[derive(Clone, Debug, Default)]
pub struct FaultSettings {
    /// Probability that a delivery is sent twice, the copy with another packet id.
    pub duplicate: f64,
    /// Probability that a delivery changes places with the one behind it.
    pub reorder: f64,
    /// Probability that a redelivery on a live connection takes a new packet id.
    pub new_packet_id: f64,
    /// Pause between a SUBACK and the first delivery after it.
    pub first_delivery_gap: Duration,
    /// Probability that a publish is treated as over the rate.
    pub throttle: f64,
    /// Lifetime of new connections: each ends at a random moment of this range, half of them with DISCONNECT
    /// 0x8B (assumed: IoT Core documents SERVER_INITIATED_DISCONNECT, not its code) and half with a bare close.
    pub lifetime: Option<(Duration, Duration)>,
    /// Clients whose publishes are all refused as if their policy denied them.
    pub refuse_publishes: HashSet<String>,
    /// Clients whose connection neither reads nor writes.
    pub stalled: HashSet<String>,
    /// Clients whose PUBACKs are kept back.
    pub hold_acks: HashSet<String>,
    /// Before CONNECT.
    pub front: Front,
    /// Clients whose CONNECT is refused as if their policy denied it.
    pub refuse_connects: HashSet<String>,
    /// Clients whose subscriptions are refused as if their policy denied them.
    pub refuse_subscribes: HashSet<String>,
    /// Clients that get no messages, as if their policy granted no Receive.
    pub refuse_receives: HashSet<String>,
    /// Probability that the policy denies a CONNECT, a publish or a filter that it allows, as while an edit spreads.
    pub policy_flap: f64,
    /// Clients whose connection the broker takes for lost, while the client's socket stays open.
    pub half_open: HashSet<String>,
    /// What gets no answer, on connections that go on.
    pub swallow: BTreeSet<Swallowed>,
    /// Whether what is over a rate is dropped without a word in MQTT 5 too, and bytes over the rate are not delayed.
    pub silent_quotas: bool,
    /// Probability that a CONNECT is refused for its rate.
    pub throttle_connects: f64,
    /// A second client with the first one's identity.
    pub takeover: Option<Takeover>,
    /// Filters in one SUBSCRIBE, fewer than IoT Core's.
    pub max_filters: Option<usize>,
    /// Subscriptions of a connection, fewer than IoT Core's.
    pub max_subscriptions: Option<usize>,
    /// Bytes of a payload, fewer than IoT Core's.
    pub max_payload: Option<usize>,
    /// Bytes of a topic, fewer than IoT Core's.
    pub max_topic: Option<usize>,
    /// By how much the time is off that the broker's HTTPS and the control plane tell.
    pub clock_skew: SignedDuration,
    /// How late lifecycle events come, each at a random moment of the range, and so in any order.
    pub event_delay: Option<(Duration, Duration)>,
    /// Probability that a lifecycle event comes twice.
    pub event_duplicate: f64,
}

/// Kinds of packets that get no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Swallowed {
    /// No CONNACK.
    Connect,
    /// No SUBACK, and no subscription.
    Subscribe,
    /// No PUBACK, and nobody gets the message.
    Publish,
    /// No PINGRESP.
    Ping,
    /// Messages to clients go nowhere.
    Delivery,
}

/// A second client that takes a client id again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// The id.
    pub client_id: String,
    /// How long after the first one's connect.
    pub every: Duration,
}

// === impl FaultSettings ===

impl FaultSettings {
    /// Whether a policy that allows something seems to deny it to a client of this set.
    pub(super) fn refuses(&self, clients: &HashSet<String>, client_id: &str) -> bool {
        hits(clients, client_id) || happens(self.policy_flap)
    }
}

// === impl Faults ===

impl Faults {
    /// Everything off.
    pub fn new() -> Self {
        Self {
            settings: watch::Sender::new(Arc::default()),
            port: watch::Sender::new(None),
        }
    }

    /// Changes the faults.
    pub fn set(&self, change: impl FnOnce(&mut FaultSettings)) {
        self.settings
            .send_modify(|settings| change(Arc::make_mut(settings)));
    }

    /// The faults as they are set now.
    pub fn get(&self) -> Arc<FaultSettings> {
        self.settings.borrow().clone()
    }

    /// Until the port looks as it is set to: never, where it cannot be listened on again; at once, while the broker does not
    /// run.
    pub async fn port_is_as_set(&self) {
        let is_as_set = |port: &Option<Port>| port.is_none_or(|port| port == self.get().front.port);
        // The sender is here.
        let _ = self.port.subscribe().wait_for(is_as_set).await;
    }

    pub(super) fn port_is(&self, port: Option<Port>) {
        self.port.send_replace(port);
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<FaultSettings>> {
        self.settings.subscribe()
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a client is in the set.
pub(super) fn hits(clients: &HashSet<String>, client_id: &str) -> bool {
    clients.contains(client_id) || clients.contains("*")
}

/// True with the given probability.
pub(super) fn happens(probability: f64) -> bool {
    probability > 0.0 && rand::rng().random_bool(probability.min(1.0))
}

/// A random moment of the range.
pub(super) fn within((from, to): (Duration, Duration)) -> Duration {
    if to <= from {
        from
    } else {
        rand::rng().random_range(from..to)
    }
}
