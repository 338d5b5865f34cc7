//! The one packet model behind MQTT 3.1.1 and 5; `codec` translates to and from it.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5;
use tokio::time::Instant;

/// The protocol a session was made with; it cannot be resumed on the other (docs/IOT-CORE.md §1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V5,
}

/// Reason codes are MQTT 5's numbers; 3.1.1 has only what its translation makes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason(pub(super) u8);

/// An application message, shared by everyone it is delivered to.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: Properties,
    pub(super) expires_at: Option<Instant>,
    /// For the No Local option; absent for what the broker itself says.
    pub(super) publisher: Option<Arc<str>>,
}

/// What MQTT 5 forwards unchanged.
#[derive(Clone, Debug, Default)]
pub(super) struct Properties {
    pub(super) content_type: Option<String>,
    pub(super) response_topic: Option<String>,
    pub(super) correlation_data: Option<Bytes>,
    pub(super) utf8_payload: bool,
    pub(super) user: v5::UserProperties,
}

/// CONNECT of either version.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) version: Version,
    pub(super) client_id: String,
    pub(super) clean_start: bool,
    /// Asked-for expiry; for 3.1.1 without the clean flag that is "as long as you keep sessions".
    pub(super) session_expiry: Duration,
    pub(super) keep_alive: u16,
    pub(super) receive_maximum: u16,
    pub(super) maximum_packet: Option<u32>,
    pub(super) will: Option<Will>,
}

/// A last will; it becomes a [`Message`] when the connection ends badly.
#[derive(Clone, Debug)]
pub(super) struct Will {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expiry: Option<Duration>,
    pub(super) properties: Properties,
}

/// What a connected client may send.
#[derive(Debug)]
pub(super) enum Inbound {
    Publish(Publish),
    PubAck(u16),
    Subscribe {
        packet_id: NonZeroU16,
        identifier: bool,
        filters: Vec<(String, SubscribeOptions)>,
    },
    Unsubscribe {
        packet_id: NonZeroU16,
        filters: Vec<String>,
    },
    Ping,
    Disconnect {
        will: bool,
        session_expiry: Option<Duration>,
    },
    /// A packet that IoT Core does not support or that only a server sends.
    Unsupported,
}

/// PUBLISH from a client.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) packet_id: Option<NonZeroU16>,
    pub(super) topic: String,
    pub(super) alias: Option<u16>,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expiry: Option<Duration>,
    pub(super) properties: Properties,
}

/// Options of one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubscribeOptions {
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    /// MQTT 5 retain handling: 0 always, 1 for a new subscription, 2 never.
    pub(super) retain_handling: u8,
}

/// What the broker sends.
#[derive(Clone, Debug)]
pub(super) enum Outbound {
    ConnAck(Box<ConnAck>),
    Publish {
        packet_id: Option<NonZeroU16>,
        qos: QoS,
        retain: bool,
        expiry_seconds: Option<u32>,
        message: Arc<Message>,
    },
    PubAck(NonZeroU16, Reason),
    SubAck(NonZeroU16, Vec<Reason>),
    UnsubAck(NonZeroU16, Vec<Reason>),
    Pong,
    Disconnect(Reason),
}

/// CONNACK with the properties of docs/IOT-CORE.md §2 point 6.
#[derive(Clone, Debug)]
pub(super) struct ConnAck {
    pub(super) reason: Reason,
    pub(super) session_present: bool,
    pub(super) session_expiry: u32,
    pub(super) receive_maximum: u16,
    pub(super) maximum_packet: u32,
    pub(super) topic_aliases: u16,
    pub(super) keep_alive: u16,
    pub(super) assigned_client_id: Option<String>,
}

// === impl Reason ===

impl Reason {
    pub(super) const SUCCESS: Self = Self(0x00);
    pub(super) const NO_SUBSCRIPTION_EXISTED: Self = Self(0x11);
    pub(super) const MALFORMED_PACKET: Self = Self(0x81);
    pub(super) const PROTOCOL_ERROR: Self = Self(0x82);
    pub(super) const CLIENT_ID_NOT_VALID: Self = Self(0x85);
    pub(super) const NOT_AUTHORIZED: Self = Self(0x87);
    pub(super) const SERVER_SHUTTING_DOWN: Self = Self(0x8B);
    pub(super) const KEEP_ALIVE_TIMEOUT: Self = Self(0x8D);
    pub(super) const SESSION_TAKEN_OVER: Self = Self(0x8E);
    pub(super) const TOPIC_FILTER_INVALID: Self = Self(0x8F);
    pub(super) const TOPIC_NAME_INVALID: Self = Self(0x90);
    pub(super) const RECEIVE_MAXIMUM_EXCEEDED: Self = Self(0x93);
    pub(super) const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    pub(super) const QUOTA_EXCEEDED: Self = Self(0x97);
    pub(super) const ADMINISTRATIVE_ACTION: Self = Self(0x98);
    pub(super) const QOS_NOT_SUPPORTED: Self = Self(0x9B);
    pub(super) const SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: Self = Self(0xA1);

    /// Whether the operation failed.
    pub(super) const fn is_error(self) -> bool {
        self.0 >= 0x80
    }
}

// === impl Message ===

impl Message {
    /// Whole seconds left to live, rounded up; `Some(0)` means expired (docs/IOT-CORE.md §2 point 12).
    pub(super) fn seconds_left(&self, now: Instant) -> Option<u32> {
        let left = self.expires_at?.saturating_duration_since(now);
        Some(u32::try_from(left.as_secs_f64().ceil() as u64).unwrap_or(u32::MAX))
    }

    /// Bytes that count against throughput.
    pub(super) fn bytes(&self) -> usize {
        let user: usize = self
            .properties
            .user
            .iter()
            .map(|(k, v)| k.len() + v.len())
            .sum();
        self.topic.len() + self.payload.len() + user
    }
}
