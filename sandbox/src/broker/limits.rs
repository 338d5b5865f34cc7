//! The limits that a sandbox may have otherwise than IoT Core, so that a test can lower one and leave the rest.
//!
//! IoT Core's numbers are in [`link::iot::limits`]; those that never differ are used from there. [`Limits`] are counts
//! and times that every broker has some value for; [`Quotas`] are rates, which a throughput test turns off with
//! [`Quotas::none`].

use std::time::Duration;

use link::iot::limits;

/// Rules about counts and times.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Whether a connection that asks for more subscriptions is also closed (docs/IOT-CORE.md §1.2: "may be").
    pub close_on_excess_subscription: bool,
    /// Longest keep-alive; zero and what is longer become this. 230 s behind an interface VPC endpoint.
    pub keep_alive_max: Duration,
    /// Pause before an unacknowledged message is sent again on a live connection.
    pub redelivery_every: Duration,
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
    /// What IoT Core does, and an assumption where that is not known.
    pub const IOT_CORE: Self = Self {
        subscriptions: limits::SUBSCRIPTIONS,
        close_on_excess_subscription: false,
        keep_alive_max: limits::KEEP_ALIVE_MAX,
        // The spacing is not documented (docs/IOT-CORE.md §7); a minute keeps duplicates visible but rare.
        redelivery_every: Duration::from_secs(60),
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
        publishes_per_second: Some(limits::PUBLISHES_PER_SECOND),
        bytes_per_second: Some(limits::BYTES_PER_SECOND),
        connect_every: Some(limits::CONNECT_INTERVAL),
        stored_per_second: Some(limits::STORED_PER_SECOND),
        shared_stored_per_second: Some(limits::STORED_PER_SECOND_SHARED),
        queue_messages: QUEUE_MESSAGES,
        queue_bytes: QUEUE_BYTES,
        queue_qos0: QUEUE_QOS0,
    };

    /// As [`Self::IOT_CORE`], with the one CONNECT per ten seconds that Greengrass measured (docs/IOT-CORE.md §1.2).
    pub const STRICT: Self = Self {
        connect_every: Some(limits::CONNECT_INTERVAL_MEASURED),
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

// An hour of a session's absence at 18 messages a second; IoT Core's figure is a quota of the account that nobody
// published.
const QUEUE_MESSAGES: usize = 65_536;

// 2 048 messages of the largest payload; a laptop's share, not IoT Core's.
const QUEUE_BYTES: usize = 2_048 * limits::PAYLOAD_BYTES;

// Ten seconds of the 100 a second a connection may receive; QoS 0 promises nothing beyond.
const QUEUE_QOS0: usize = 1_000;
