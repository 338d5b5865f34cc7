//! What IoT Core allows, as numbers (docs/IOT-CORE.md §1.2), and the checks that refuse what it would refuse.
//!
//! This is the one home of these numbers. How each is known: *documented* was read in an AWS text or observed on the
//! wire; *secondary* comes from a copy; *measured* was found by others in the field.

use std::time::Duration;

pub use self::error::LimitError;
use self::text::check_property;
pub(crate) use self::text::is_carried;
pub use self::text::is_text;
use super::filter;
use crate::message::Message;

mod error;
mod text;

/// Bytes of payload in one PUBLISH; one more byte and the connection is closed (documented, observed).
pub const PAYLOAD_BYTES: usize = 131_072;
/// Bytes of variable header and payload in one MQTT 5 packet (secondary, observed in CONNACK).
pub const PACKET_BYTES: usize = 149_504;
/// Bytes of one text in an MQTT packet, such as the name or the value of a user property (MQTT 5 §1.5.4).
pub const TEXT_BYTES: usize = 65_535;
/// For how long after a disconnect the version numbers of a client id's lifecycle events go on; afterwards they begin at 0
/// (documented, "about an hour").
pub const LIFECYCLE_NUMBERS: Duration = Duration::from_secs(60 * 60);
/// UTF-8 bytes of a topic or filter, without the parts that are not counted (documented).
pub const TOPIC_BYTES: usize = 256;
/// Forward slashes in a topic or filter, without the parts that are not counted (documented).
pub const TOPIC_SLASHES: usize = 7;
/// Characters of the NAME in `$share/NAME/` (documented).
pub const SHARE_NAME_CHARACTERS: usize = 128;
/// UTF-8 bytes of a client id; a leading `$` is reserved (documented).
pub const CLIENT_ID_BYTES: usize = 128;
/// Filters in one SUBSCRIBE, else the connection is closed; in one UNSUBSCRIBE, else nothing happens (documented, observed).
pub const FILTERS_PER_SUBSCRIBE: usize = 8;
/// Subscriptions of one connection; the excess is refused in SUBACK (documented in 2021, said to be soft since).
pub const SUBSCRIPTIONS: usize = 50;
/// Publishes per second of one connection, in and out together; the excess is discarded (documented).
pub const PUBLISHES_PER_SECOND: u32 = 100;
/// Bytes per second of one connection; the excess is delayed (documented).
pub const BYTES_PER_SECOND: u32 = 512 * 1024;
/// QoS 1 messages without PUBACK, in each direction (documented).
pub const IN_FLIGHT: u16 = 100;
/// How long a QoS 1 message is offered to a connected client that does not acknowledge (documented).
pub const REDELIVERY: Duration = Duration::from_secs(60 * 60);
/// How long a change of a policy or a certificate takes to reach every host, at most (documented: 6 to 8 minutes).
pub const POLICY_SPREADS: Duration = Duration::from_secs(8 * 60);
/// CONNECTs per second of the smallest account (documented).
pub const ACCOUNT_CONNECTS_PER_SECOND: u32 = 100;
/// The least time between two CONNECTs of one client id (documented).
pub const CONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// The same, when both CONNECTs reach one front-end host (measured by Greengrass: 0.1 per second).
pub const CONNECT_INTERVAL_MEASURED: Duration = Duration::from_secs(10);
/// The shortest keep-alive; 1 to 29 seconds become this (documented).
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(30);
/// The longest keep-alive; 0 and anything longer become this (documented).
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(1200);
/// A silent client is dropped after this many keep-alives, in percent (documented: 1.5 times).
pub const KEEP_ALIVE_GRACE_PERCENT: u32 = 150;
/// The longest session expiry of an account that did not ask for more (documented).
pub const SESSION_EXPIRY: Duration = Duration::from_secs(60 * 60);
/// Stored messages per second handed to a client that comes back, besides live traffic (documented).
pub const STORED_PER_SECOND: u32 = 10;
/// Stored messages per second handed to each active member of a shared subscription (documented).
pub const STORED_PER_SECOND_SHARED: u32 = 20;
/// The longest message expiry in seconds; more becomes this (documented).
pub const MESSAGE_EXPIRY_MAX: u32 = 604_800;
/// Topic aliases a client may define (documented, observed).
pub const TOPIC_ALIASES: u16 = 8;
/// Characters of a policy document, white space not counted (documented).
pub const POLICY_CHARACTERS: usize = 2048;
/// Versions kept of one policy (documented).
pub const POLICY_VERSIONS: usize = 5;
/// Policies attached to one certificate (documented).
pub const POLICIES_PER_PRINCIPAL: usize = 10;
/// Tags on one resource (AWS general reference, IoT Core quotas).
pub const TAGS_PER_RESOURCE: usize = 50;
/// Attributes of a thing without a thing type (AWS general reference, IoT Core quotas).
pub const THING_ATTRIBUTES: usize = 3;
/// Attributes of a thing with a thing type (AWS general reference, IoT Core quotas).
pub const TYPED_THING_ATTRIBUTES: usize = 50;
/// The port of MQTT with client certificates (docs/IOT-CORE.md §1.6).
pub const MQTT_PORT: u16 = 8883;
/// Bits of the smallest RSA key of a client certificate (docs/IOT-CORE.md §1.6).
pub const RSA_BITS: usize = 2048;
/// Bytes of a message that are charged as one: 5 KB. Whether that is 5 000 or 5 120 is not documented (docs/IOT-CORE.md §3);
/// the smaller gives the higher estimate.
pub const METERED_BYTES: u64 = 5_000;

/// The limits of one connection, to be kept by the client and enforced by a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Publishes per second.
    pub publishes_per_second: u32,
    /// Bytes per second, topic, payload and properties together.
    pub bytes_per_second: u32,
    /// QoS 1 messages without PUBACK, in each direction.
    pub in_flight: u16,
    /// Bytes of payload in one PUBLISH.
    pub payload_bytes: usize,
    /// Bytes of one packet.
    pub packet_bytes: usize,
    /// Bytes of a topic or filter.
    pub topic_bytes: usize,
    /// Forward slashes in a topic or filter.
    pub topic_slashes: usize,
    /// Filters in one SUBSCRIBE.
    pub filters_per_subscribe: usize,
    /// Subscriptions held at once.
    pub subscriptions: usize,
}

// === impl ConnectionLimits ===

impl ConnectionLimits {
    /// What IoT Core gives every connection (docs/IOT-CORE.md §1.2).
    pub const IOT_CORE: Self = Self {
        publishes_per_second: PUBLISHES_PER_SECOND,
        bytes_per_second: BYTES_PER_SECOND,
        in_flight: IN_FLIGHT,
        payload_bytes: PAYLOAD_BYTES,
        packet_bytes: PACKET_BYTES,
        topic_bytes: TOPIC_BYTES,
        topic_slashes: TOPIC_SLASHES,
        filters_per_subscribe: FILTERS_PER_SUBSCRIBE,
        subscriptions: SUBSCRIPTIONS,
    };

    /// The same without rates of publishes and bytes, for brokers that have none. Sizes and the window stay.
    pub const fn without_rates() -> Self {
        Self {
            publishes_per_second: u32::MAX,
            bytes_per_second: u32::MAX,
            ..Self::IOT_CORE
        }
    }

    /// Checks the topic of a PUBLISH. The first three levels of `$aws/rules/<rule>/` are not counted.
    ///
    /// # Errors
    /// [`LimitError`] with the measured value and the limit.
    pub fn check_topic(&self, topic: &str) -> Result<(), LimitError> {
        if filter::has_wildcard(topic) {
            return malformed("topic", topic, "holds a wildcard: only filters may");
        }
        self.check_text("topic", topic, filter::counted(topic))
    }

    /// Checks one filter of a SUBSCRIBE. `$share/<name>/` is not counted.
    ///
    /// # Errors
    /// [`LimitError`] with the measured value and the limit.
    pub fn check_filter(&self, filter: &str) -> Result<(), LimitError> {
        if let Some(problem) = filter::problem(filter) {
            return malformed("filter", filter, problem);
        }
        let (share, rest) = filter::split_share(filter);
        if let Some(name) = share
            && name.chars().count() > SHARE_NAME_CHARACTERS
        {
            return Err(LimitError::ShareName {
                name: name.to_owned(),
                characters: name.chars().count(),
                limit: SHARE_NAME_CHARACTERS,
            });
        }
        self.check_text("filter", filter, filter::counted(rest))
    }

    /// Checks the size of a payload.
    ///
    /// # Errors
    /// [`LimitError::Payload`].
    pub fn check_payload(&self, bytes: usize) -> Result<(), LimitError> {
        let limit = self.payload_bytes;
        if bytes > limit {
            return Err(LimitError::Payload { bytes, limit });
        }
        Ok(())
    }

    /// Checks the size of a packet.
    ///
    /// # Errors
    /// [`LimitError::Packet`].
    pub fn check_packet(&self, bytes: usize) -> Result<(), LimitError> {
        let limit = self.packet_bytes;
        if bytes > limit {
            return Err(LimitError::Packet { bytes, limit });
        }
        Ok(())
    }

    /// Checks a whole message as it is sent at QoS 1: topic, content type, each user property, payload and packet.
    ///
    /// # Errors
    /// [`LimitError`] with the measured value and the limit.
    pub fn check_message(&self, message: &Message) -> Result<(), LimitError> {
        self.check_topic(&message.topic)?;
        if let Some(content_type) = &message.content_type {
            check_property("content type", "", content_type)?;
        }
        for (name, value) in &message.user_properties {
            check_property("name of user property", name, name)?;
            check_property("value of user property", name, value)?;
        }
        self.check_payload(message.payload.len())?;
        self.check_packet(message.packet_bytes())
    }

    /// Checks how many subscriptions a connection would hold.
    ///
    /// # Errors
    /// [`LimitError::Subscriptions`].
    pub fn check_subscription_count(&self, subscriptions: usize) -> Result<(), LimitError> {
        let limit = self.subscriptions;
        if subscriptions > limit {
            return Err(LimitError::Subscriptions {
                subscriptions,
                limit,
            });
        }
        Ok(())
    }

    fn check_text(&self, what: &'static str, text: &str, counted: &str) -> Result<(), LimitError> {
        if text.is_empty() || counted.is_empty() {
            return malformed(what, text, "is empty");
        }
        if text.contains('\0') {
            return malformed(what, text, "holds a null character");
        }
        if let Some(character) = text.chars().find(|character| !is_carried(*character)) {
            return Err(LimitError::Character {
                what,
                name: text.to_owned(),
                character: character.into(),
            });
        }
        if counted.len() > self.topic_bytes {
            return Err(LimitError::TooLong {
                what,
                text: text.to_owned(),
                bytes: counted.len(),
                limit: self.topic_bytes,
            });
        }
        let slashes = counted.matches('/').count();
        if slashes > self.topic_slashes {
            return Err(LimitError::Slashes {
                what,
                text: text.to_owned(),
                slashes,
                limit: self.topic_slashes,
            });
        }
        Ok(())
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::IOT_CORE
    }
}

/// [`ConnectionLimits::check_topic`] with IoT Core's numbers.
///
/// # Errors
/// [`LimitError`] with the measured value and the limit.
pub fn check_topic(topic: &str) -> Result<(), LimitError> {
    ConnectionLimits::IOT_CORE.check_topic(topic)
}

/// [`ConnectionLimits::check_filter`] with IoT Core's numbers.
///
/// # Errors
/// [`LimitError`] with the measured value and the limit.
pub fn check_filter(filter: &str) -> Result<(), LimitError> {
    ConnectionLimits::IOT_CORE.check_filter(filter)
}

/// [`ConnectionLimits::check_payload`] with IoT Core's numbers.
///
/// # Errors
/// [`LimitError::Payload`].
pub fn check_payload(bytes: usize) -> Result<(), LimitError> {
    ConnectionLimits::IOT_CORE.check_payload(bytes)
}

/// Whether IoT Core takes a message, measured on the whole packet as it is sent at QoS 1
/// ([`ConnectionLimits::check_message`] with IoT Core's numbers).
///
/// # Errors
/// [`LimitError`] names what is too large, its size and the limit.
pub fn fits(message: &Message) -> Result<(), LimitError> {
    ConnectionLimits::IOT_CORE.check_message(message)
}

/// Checks a client id as IoT Core does at CONNECT: 1 to 128 bytes, no leading `$` (docs/IOT-CORE.md §2 point 2).
///
/// # Errors
/// [`LimitError`] with the measured value and the limit.
pub fn check_client_id(id: &str) -> Result<(), LimitError> {
    if id.is_empty() {
        return malformed("client id", id, "is empty");
    }
    if id.starts_with('$') {
        return malformed("client id", id, "begins with the reserved `$`");
    }
    if id.len() > CLIENT_ID_BYTES {
        return Err(LimitError::TooLong {
            what: "client id",
            text: id.to_owned(),
            bytes: id.len(),
            limit: CLIENT_ID_BYTES,
        });
    }
    Ok(())
}

/// The keep-alive IoT Core uses when a client asks for `seconds` (docs/IOT-CORE.md §1.2).
pub fn effective_keep_alive(seconds: u16) -> Duration {
    match Duration::from_secs(seconds.into()) {
        Duration::ZERO => KEEP_ALIVE_MAX,
        asked => asked.clamp(KEEP_ALIVE_MIN, KEEP_ALIVE_MAX),
    }
}

fn malformed(what: &'static str, text: &str, problem: &'static str) -> Result<(), LimitError> {
    Err(LimitError::Malformed {
        what,
        text: text.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests;
