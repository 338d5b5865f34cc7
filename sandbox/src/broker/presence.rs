//! Lifecycle events on `$aws/events/…` (docs/IOT-CORE.md §1.4, §2 point 19), so that a diagnosis that listens to them
//! can be tested.

use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use link::iot::filter::has_wildcard;
use link::iot::limits::MESSAGE_EXPIRY_MAX;
use rmqtt_codec::types::QoS;
use serde_json::{Map, Value, json};

use super::packet::{Message, Properties};

/// Why a connection ended, with the names of the lifecycle events (docs/IOT-CORE.md §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The certificate stopped being active.
    AuthError,
    /// The client sent DISCONNECT; the only reason without a last will.
    ClientInitiatedDisconnect,
    /// The client broke a rule of the protocol or of IoT Core.
    ClientError,
    /// The socket ended without DISCONNECT.
    ConnectionLost,
    /// Another connection took the client id.
    DuplicateClientId,
    /// The policy does not allow what an MQTT 3.1.1 client did.
    ForbiddenAccess,
    /// Silence for one and a half keep-alive intervals.
    MqttKeepAliveTimeout,
    /// The server itself is at fault.
    ServerError,
    /// The server lets the connection go, as maintenance does.
    ServerInitiatedDisconnect,
    /// DeleteConnection.
    ApiInitiatedDisconnect,
    /// Over a quota.
    Throttled,
}

/// Makes event messages with growing version numbers.
#[derive(Debug)]
pub(super) struct Presence {
    clock: Clock,
}

// === impl DisconnectReason ===

impl DisconnectReason {
    /// The name in `disconnectReason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthError => "AUTH_ERROR",
            Self::ClientInitiatedDisconnect => "CLIENT_INITIATED_DISCONNECT",
            Self::ClientError => "CLIENT_ERROR",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::DuplicateClientId => "DUPLICATE_CLIENTID",
            Self::ForbiddenAccess => "FORBIDDEN_ACCESS",
            Self::MqttKeepAliveTimeout => "MQTT_KEEP_ALIVE_TIMEOUT",
            Self::ServerError => "SERVER_ERROR",
            Self::ServerInitiatedDisconnect => "SERVER_INITIATED_DISCONNECT",
            Self::ApiInitiatedDisconnect => "API_INITIATED_DISCONNECT",
            Self::Throttled => "THROTTLED",
        }
    }
}

// === impl Presence ===

impl Presence {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock }
    }

    pub(super) fn connected(
        &self,
        client_id: &str,
        link: u64,
        fingerprint: &str,
    ) -> Option<Message> {
        self.event(
            "presence/connected",
            client_id,
            "connected",
            &json!({
                "principalIdentifier": fingerprint,
                "versionNumber": link,
            }),
        )
    }

    pub(super) fn disconnected(
        &self,
        client_id: &str,
        link: u64,
        fingerprint: &str,
        reason: DisconnectReason,
    ) -> Option<Message> {
        self.event(
            "presence/disconnected",
            client_id,
            "disconnected",
            &json!({
                "principalIdentifier": fingerprint,
                "versionNumber": link,
                "clientInitiatedDisconnect": reason == DisconnectReason::ClientInitiatedDisconnect,
                "disconnectReason": reason.as_str(),
            }),
        )
    }

    pub(super) fn connect_failed(&self, client_id: &str, fingerprint: &str) -> Option<Message> {
        self.event(
            "presence/connect_failed",
            client_id,
            "connect_failed",
            &json!({
                "principalIdentifier": fingerprint,
                "connectFailureReason": "AUTHORIZATION_FAILED",
            }),
        )
    }

    pub(super) fn subscribed(&self, client_id: &str, topics: &[String]) -> Option<Message> {
        self.event(
            "subscriptions/subscribed",
            client_id,
            "subscribed",
            &json!({ "topics": topics }),
        )
    }

    pub(super) fn unsubscribed(&self, client_id: &str, topics: &[String]) -> Option<Message> {
        self.event(
            "subscriptions/unsubscribed",
            client_id,
            "unsubscribed",
            &json!({ "topics": topics }),
        )
    }

    /// Ids with a wildcard in them get no events (docs/IOT-CORE.md §1.2).
    fn event(&self, topic: &str, client_id: &str, kind: &str, extra: &Value) -> Option<Message> {
        if has_wildcard(client_id) {
            return None;
        }
        let mut body = Map::new();
        body.insert("clientId".into(), client_id.into());
        body.insert("eventType".into(), kind.into());
        body.insert("timestamp".into(), self.clock.now().as_millisecond().into());
        body.extend(extra.as_object().cloned().unwrap_or_default());
        Some(Message {
            topic: Arc::from(format!("$aws/events/{topic}/{client_id}")),
            payload: Value::Object(body).to_string().into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            expires_at: None,
            publisher: None,
        })
    }
}

/// An expiry as IoT Core takes it: 1 to 604 800 s, zero becomes 1 (docs/IOT-CORE.md §1.2).
pub(super) fn clamp_expiry(asked: Duration) -> Duration {
    let longest = Duration::from_secs(MESSAGE_EXPIRY_MAX.into());
    asked.clamp(Duration::from_secs(1), longest)
}
