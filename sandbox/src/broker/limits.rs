//! The numbers of IoT Core as data (docs/IOT-CORE.md §1.2, §2), so that a test can lower one and leave the rest.
//!
//! [`Limits`] are rules about shape and time that every broker has some value for; [`Quotas`] are rates, which
//! a throughput test turns off with [`Quotas::none`].

use std::time::Duration;

/// Rules about sizes, counts and times.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Payload of one PUBLISH in bytes.
    pub payload_bytes: usize,
    /// Variable header and payload of one packet in bytes; announced to MQTT 5 clients.
    pub packet_bytes: u32,
    /// Topic or filter in UTF-8 bytes.
    pub topic_bytes: usize,
    /// `/` in a topic or filter; those of a reserved prefix are not counted.
    pub topic_slashes: usize,
    /// Client id in bytes.
    pub client_id_bytes: usize,
    /// Filters in one SUBSCRIBE or UNSUBSCRIBE.
    pub filters_per_packet: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Whether a connection that asks for more subscriptions is also closed (docs/IOT-CORE.md §1.2: "may be").
    pub close_on_excess_subscription: bool,
    /// Unacknowledged QoS 1 messages in each direction.
    pub in_flight: u16,
    /// Topic aliases a client may use.
    pub topic_aliases: u16,
    /// Shortest keep-alive; what is shorter is raised to it.
    pub keep_alive_min: Duration,
    /// Longest keep-alive; zero and what is longer become this. 230 s behind an interface VPC endpoint.
    pub keep_alive_max: Duration,
    /// Longest session expiry granted, and that of an MQTT 3.1.1 session without the clean flag.
    pub session_expiry: Duration,
    /// Longest message expiry.
    pub message_expiry: Duration,
    /// Pause before an unacknowledged message is sent again on a live connection.
    pub redelivery_every: Duration,
    /// After this long without acknowledgement a live connection's message is dropped.
    pub redelivery_for: Duration,
    /// Time from the accepted socket to a complete CONNECT.
    pub connect_timeout: Duration,
    /// Sockets open at a time; one more is closed at once.
    pub connections: usize,
}

/// Rates and queue sizes; `None` is no limit.
#[derive(Clone, Debug)]
pub struct Quotas {
    /// PUBLISH packets per second and connection, each way.
    pub publishes_per_second: Option<u32>,
    /// Bytes per second and connection, each way.
    pub bytes_per_second: Option<u32>,
    /// Pause between two CONNECTs of one client id.
    pub connect_every: Option<Duration>,
    /// Stored messages per second after a reconnect.
    pub stored_per_second: Option<u32>,
    /// The same for the messages of a shared-subscription group.
    pub shared_stored_per_second: Option<u32>,
    /// Messages waiting for one session; the newest is dropped beyond it.
    pub queue_messages: usize,
    /// Payload bytes waiting for one session; the newest is dropped beyond it.
    pub queue_bytes: usize,
    /// QoS 0 messages waiting for one connection; the newest is dropped beyond it.
    pub queue_qos0: usize,
}

// === impl Limits ===

impl Limits {
    /// What IoT Core does (docs/IOT-CORE.md §1.2).
    pub const IOT_CORE: Self = Self {
        payload_bytes: 131_072,
        packet_bytes: 149_504,
        topic_bytes: 256,
        topic_slashes: 7,
        client_id_bytes: 128,
        filters_per_packet: 8,
        subscriptions: 50,
        close_on_excess_subscription: false,
        in_flight: 100,
        topic_aliases: 8,
        keep_alive_min: Duration::from_secs(30),
        keep_alive_max: Duration::from_secs(1200),
        session_expiry: Duration::from_secs(3600),
        message_expiry: Duration::from_secs(604_800),
        // The spacing is not documented (docs/IOT-CORE.md §7); a minute keeps duplicates visible but rare.
        redelivery_every: Duration::from_secs(60),
        redelivery_for: Duration::from_secs(3600),
        // Not documented either; longer than the 20 s that AWS's own clients wait for CONNACK.
        connect_timeout: Duration::from_secs(30),
        // IoT Core's is an account quota of half a million; with TLS and a write buffer of 64 KiB these take half a
        // gigabyte.
        connections: 4096,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::IOT_CORE
    }
}

// === impl Quotas ===

impl Quotas {
    /// What IoT Core allows by default (docs/IOT-CORE.md §1.2, §2 points 3, 10, 15 and 17).
    pub const IOT_CORE: Self = Self {
        publishes_per_second: Some(100),
        bytes_per_second: Some(512 * 1024),
        connect_every: Some(Duration::from_secs(1)),
        stored_per_second: Some(10),
        shared_stored_per_second: Some(20),
        queue_messages: QUEUE_MESSAGES,
        queue_bytes: QUEUE_BYTES,
        queue_qos0: QUEUE_QOS0,
    };

    /// As [`Self::IOT_CORE`], with the one CONNECT per ten seconds that Greengrass measured (docs/IOT-CORE.md §1.2).
    pub const STRICT: Self = Self {
        connect_every: Some(Duration::from_secs(10)),
        ..Self::IOT_CORE
    };

    /// No rates; queues keep their size.
    pub const fn none() -> Self {
        Self {
            publishes_per_second: None,
            bytes_per_second: None,
            connect_every: None,
            stored_per_second: None,
            shared_stored_per_second: None,
            ..Self::IOT_CORE
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::IOT_CORE
    }
}

// An hour of a session's absence at 18 messages a second; the real figure is an account quota nobody
// published (docs/IOT-CORE.md §7).
const QUEUE_MESSAGES: usize = 65_536;

// 2 048 messages of the largest payload; a laptop's share, not IoT Core's.
const QUEUE_BYTES: usize = 2_048 * 131_072;

// Ten seconds of the 100 a second a connection may receive; QoS 0 promises nothing beyond.
const QUEUE_QOS0: usize = 1_000;
