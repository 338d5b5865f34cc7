//! Lifecycle events on `$aws/events/…` (docs/IOT-CORE.md §1.4, §2 point 19), so that a diagnosis that listens to them
//! can be tested.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use link::clock::Clock;
use link::iot::filter::has_wildcard;
use link::iot::limits::MESSAGE_EXPIRY_MAX;
use rmqtt_codec::types::QoS;
use serde_json::{Map, Value, json};
use uuid::Uuid;

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

/// Whom an event is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party<'a> {
    pub(super) client_id: &'a str,
    /// The certificate's id.
    pub(super) certificate: &'a str,
    /// Lives as long as the client's session.
    pub(super) session: Uuid,
    pub(super) address: Option<IpAddr>,
}

/// Makes event messages. There is no `thingName`: it comes with exclusive things only, which the registry does not have.
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

    /// The moment that events carry.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn connected(&self, party: &Party<'_>, version: u64) -> Option<Message> {
        let extra = json!({ "versionNumber": version });
        self.event("presence", "connected", party, true, &extra)
    }

    /// Has the version of the connection's `connected`.
    pub(super) fn disconnected(
        &self,
        party: &Party<'_>,
        version: u64,
        reason: DisconnectReason,
    ) -> Option<Message> {
        let extra = json!({
            "versionNumber": version,
            "clientInitiatedDisconnect": reason == DisconnectReason::ClientInitiatedDisconnect,
            "disconnectReason": reason.as_str(),
        });
        self.event("presence", "disconnected", party, false, &extra)
    }

    pub(super) fn connect_failed(&self, party: &Party<'_>) -> Option<Message> {
        let extra = json!({ "connectFailureReason": "AUTHORIZATION_FAILED" });
        self.event("presence", "connect_failed", party, true, &extra)
    }

    pub(super) fn subscribed(&self, party: &Party<'_>, topics: &[String]) -> Option<Message> {
        let extra = json!({ "topics": topics });
        self.event("subscriptions", "subscribed", party, false, &extra)
    }

    pub(super) fn unsubscribed(&self, party: &Party<'_>, topics: &[String]) -> Option<Message> {
        let extra = json!({ "topics": topics });
        self.event("subscriptions", "unsubscribed", party, false, &extra)
    }

    /// Ids with a wildcard in them get no events (docs/IOT-CORE.md §1.2).
    fn event(
        &self,
        family: &str,
        kind: &str,
        party: &Party<'_>,
        with_address: bool,
        extra: &Value,
    ) -> Option<Message> {
        let client_id = party.client_id;
        if has_wildcard(client_id) {
            return None;
        }
        let mut body = Map::new();
        body.insert("clientId".into(), client_id.into());
        body.insert("timestamp".into(), self.now().as_millisecond().into());
        body.insert("eventType".into(), kind.into());
        body.insert("sessionIdentifier".into(), party.session.to_string().into());
        body.insert("principalIdentifier".into(), party.certificate.into());
        if let Some(address) = party.address.filter(|_| with_address) {
            body.insert("ipAddress".into(), address.to_string().into());
        }
        body.extend(extra.as_object().cloned().unwrap_or_default());
        Some(Message {
            topic: Arc::from(format!("$aws/events/{family}/{kind}/{client_id}")),
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
