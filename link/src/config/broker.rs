//! The broker section: upstream's `config.yaml` (docs/MAESTRO.md §1.5), read strictly.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::credentials::BrokerCredentials;
use super::key::{Key, ValueKind};
use super::layers::Layers;
use super::problem::ConfigProblem;
use super::value::{Invalid, Scalar, parse_host_port};
use crate::iot::limits::{KEEP_ALIVE_MAX, KEEP_ALIVE_MIN};

/// How to reach the broker and what to say there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The broker's host name or address; the name is also what its certificate must be for.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// The MQTT keep-alive, 30 to 1200 s (docs/IOT-CORE.md §1.2).
    pub keep_alive: Duration,
    /// How long one attempt to connect may take, TLS and CONNECT included.
    pub dial_timeout: Duration,
    /// Whose rates of publishes and bytes this side keeps.
    pub rates: Rates,
    /// The topic patterns; `None` for the default scheme.
    pub topics: Option<BrokerTopics>,
    /// The mutual TLS material; `None` when the file names none and it comes from elsewhere.
    pub credentials: Option<BrokerCredentials>,
}

/// Topic patterns as written; their shapes are checked where the scheme is made of them (docs/MAESTRO.md §1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerTopics {
    /// What the source publishes to one consumer.
    pub source_events: String,
    /// What a consumer publishes to the source.
    pub agent_events: String,
    /// What the source publishes to all consumers.
    pub source_broadcast: Option<String>,
    /// What a consumer publishes to all sources.
    pub agent_broadcast: Option<String>,
}

/// Rates that a connection keeps of its own accord.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rates {
    /// IoT Core's, which discards what goes over them (docs/IOT-CORE.md §1.2).
    #[default]
    IotCore,
    /// None: for a broker that takes what the network carries. The window of unacknowledged messages stays.
    Unlimited,
}

// === impl Broker ===

impl Broker {
    /// The keys of this section.
    pub const KEYS: &'static [Key] = &[
        Key::new(
            "brokerHost",
            ValueKind::HostPort,
            "host and port of the broker, without a scheme; required",
        )
        .env("MQTT_BROKER_HOST")
        .flag("--broker-host"),
        Key::new(
            "username",
            ValueKind::Text,
            "must be empty: the client certificate is the identity",
        )
        .env("MQTT_USERNAME"),
        Key::new(
            "password",
            ValueKind::Text,
            "must be empty: the client certificate is the identity",
        )
        .env("MQTT_PASSWORD")
        .secret(),
        Key::new(
            "keepAlive",
            ValueKind::Integer,
            "MQTT keep-alive in seconds, 30 to 1200",
        )
        .default("60")
        .env("MQTT_KEEP_ALIVE")
        .flag("--keep-alive"),
        Key::new(
            "dialTimeout",
            ValueKind::Duration,
            "limit of one connection attempt, 100 ms to 10 min; an integer is nanoseconds",
        )
        .default("60s")
        .env("MQTT_DIAL_TIMEOUT")
        .flag("--dial-timeout"),
        Key::new(
            "rates",
            ValueKind::Text,
            "rates of publishes and bytes to keep: `iot-core` (100/s, 512 KiB/s a connection) or `unlimited`",
        )
        .default("iot-core")
        .env("MQTT_RATES")
        .flag("--broker-rates"),
        Key::new(
            "pubQoS",
            ValueKind::Integer,
            "quality of service of publishes; only 1",
        )
        .default("1"),
        Key::new(
            "subQoS",
            ValueKind::Integer,
            "quality of service of subscriptions; only 1",
        )
        .default("1"),
        Key::new(
            "topics.sourceEvents",
            ValueKind::Text,
            "topic of events to a consumer; without `topics`, `maestro/consumers/+/sourceevents`",
        )
        .env("MQTT_TOPICS_SOURCE_EVENTS")
        .flag("--topics-source-events"),
        Key::new(
            "topics.agentEvents",
            ValueKind::Text,
            "topic of events from a consumer; without `topics`, `maestro/consumers/+/agentevents`",
        )
        .env("MQTT_TOPICS_AGENT_EVENTS")
        .flag("--topics-agent-events"),
        Key::new(
            "topics.sourceBroadcast",
            ValueKind::Text,
            "topic of events to all consumers",
        )
        .env("MQTT_TOPICS_SOURCE_BROADCAST")
        .flag("--topics-source-broadcast"),
        Key::new(
            "topics.agentBroadcast",
            ValueKind::Text,
            "topic of events to all sources",
        )
        .env("MQTT_TOPICS_AGENT_BROADCAST")
        .flag("--topics-agent-broadcast"),
        Key::new("caFile", ValueKind::Path, "CA of the broker's certificate, PEM")
            .env("MQTT_CA_FILE")
            .flag("--ca-file"),
        Key::new(
            "caData",
            ValueKind::Base64,
            "the same as data; wins over `caFile`",
        )
        .env("MQTT_CA_DATA"),
        Key::new(
            "clientCertFile",
            ValueKind::Path,
            "client certificate with its chain, PEM",
        )
        .env("MQTT_CLIENT_CERT_FILE")
        .flag("--client-cert-file"),
        Key::new(
            "clientCertData",
            ValueKind::Base64,
            "the same as data; wins over `clientCertFile`",
        )
        .env("MQTT_CLIENT_CERT_DATA"),
        Key::new(
            "clientKeyFile",
            ValueKind::Path,
            "private key of the client certificate, PEM",
        )
        .env("MQTT_CLIENT_KEY_FILE")
        .flag("--client-key-file"),
        Key::new(
            "clientKeyData",
            ValueKind::Base64,
            "the same as data; wins over `clientKeyFile`",
        )
        .env("MQTT_CLIENT_KEY_DATA")
        .secret(),
    ];

    /// Reads the section; `None` when something is refused, which is then among the layers' problems.
    pub fn read(layers: &mut Layers) -> Option<Self> {
        let address = layers.read("brokerHost", |value| parse_host_port(&value.text()?));
        if address.is_none() && !layers.is_given("brokerHost") {
            layers.missing("brokerHost");
        }
        for name in ["username", "password"] {
            refuse_login(layers, name);
        }
        let keep_alive = layers.read("keepAlive", keep_alive);
        let dial_timeout = layers.read("dialTimeout", |value| value.duration(&DIAL_TIMEOUT));
        let rates = layers.read("rates", rates);
        for name in ["pubQoS", "subQoS"] {
            layers.read(name, only_qos_1);
        }
        let topics = BrokerTopics::read(layers);
        let credentials = BrokerCredentials::read(layers);
        let (host, port) = address?.value;
        Some(Self {
            host,
            port,
            keep_alive: keep_alive?.value,
            dial_timeout: dial_timeout?.value,
            rates: rates?.value,
            topics,
            credentials,
        })
    }
}

// === impl BrokerTopics ===

impl BrokerTopics {
    /// Reads the section; `None` when no topic is given or a needed one is missing.
    fn read(layers: &mut Layers) -> Option<Self> {
        let mut read = |name| layers.read(name, Scalar::text).map(|setting| setting.value);
        let source_events = read("topics.sourceEvents");
        let agent_events = read("topics.agentEvents");
        let source_broadcast = read("topics.sourceBroadcast");
        let agent_broadcast = read("topics.agentBroadcast");
        let any = TOPIC_KEYS.into_iter().find(|name| layers.is_given(name))?;
        for name in ["topics.sourceEvents", "topics.agentEvents"] {
            if !layers.is_given(name) {
                let origin = layers.origin(any).cloned();
                let what = format!("`{name}` is missing while `{any}` is given");
                let fix = format!("add `{name}`, or remove `topics` to use the default topics");
                layers.problem(ConfigProblem::new(origin, what, fix));
            }
        }
        Some(Self {
            source_events: source_events?,
            agent_events: agent_events?,
            source_broadcast,
            agent_broadcast,
        })
    }
}

fn refuse_login(layers: &mut Layers, name: &str) {
    if layers.is_given(name) {
        let origin = layers.origin(name).cloned();
        let what = format!("`{name}` is set, but the broker knows a client by its certificate");
        layers.problem(ConfigProblem::new(
            origin,
            what,
            "remove it or leave it empty".to_owned(),
        ));
    }
}

fn keep_alive(value: &Scalar) -> Result<Duration, Invalid> {
    let seconds = value.integer(&KEEP_ALIVE_SECONDS, " (seconds)")?;
    // The range fits.
    Ok(Duration::from_secs(
        u64::try_from(seconds).unwrap_or_default(),
    ))
}

fn rates(value: &Scalar) -> Result<Rates, Invalid> {
    match value.text()?.as_str() {
        "iot-core" => Ok(Rates::IotCore),
        "unlimited" => Ok(Rates::Unlimited),
        other => Err(Invalid::new(
            format!("is `{other}`, no known set of rates"),
            "write `iot-core` or `unlimited`",
        )),
    }
}

fn only_qos_1(value: &Scalar) -> Result<(), Invalid> {
    let why = match value.integer(&(0..=2), "")? {
        1 => return Ok(()),
        0 => "is 0, which loses messages",
        _ => "is 2, which AWS IoT Core does not have",
    };
    Err(Invalid::new(why, "write 1 or remove it"))
}

const TOPIC_KEYS: [&str; 4] = [
    "topics.sourceEvents",
    "topics.agentEvents",
    "topics.sourceBroadcast",
    "topics.agentBroadcast",
];

// Outside this range IoT Core uses its own number and the two ends disagree (docs/IOT-CORE.md §1.2).
const KEEP_ALIVE_SECONDS: RangeInclusive<i128> =
    KEEP_ALIVE_MIN.as_secs() as i128..=KEEP_ALIVE_MAX.as_secs() as i128;

// Below, no TLS handshake across an ocean succeeds; above, a dead address would hold a start-up for too long.
const DIAL_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);
