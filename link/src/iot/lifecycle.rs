//! Lifecycle events of IoT Core: which client connected or went, and why (docs/IOT-CORE.md §1.4).

use jiff::Timestamp;
use serde::Deserialize;

/// The filters that hear of the connections of all clients of an account and region. There is none for the clients of one
/// name: ids do not hold levels of a topic.
pub const PRESENCE_FILTERS: [&str; 2] = [
    "$aws/events/presence/connected/+",
    "$aws/events/presence/disconnected/+",
];

/// That a connection of a client began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// The client id.
    pub client_id: String,
    /// Whether it began.
    pub connected: bool,
    /// `versionNumber`: grows with the connections of a client id, the same for the beginning and the end of one; begins
    /// anew when the client was away for about an hour.
    pub version: i64,
    /// When, by the broker's clock, in milliseconds.
    pub at: Timestamp,
    /// Why it ended, one of a set of words that may grow.
    pub reason: Option<String>,
}

/// The message is no lifecycle event that can be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLifecycleEvent {
    /// It is no JSON of one.
    #[error("the event's data cannot be read")]
    Json(#[source] serde_json::Error),
    /// Its time is none.
    #[error("the event's time is out of range")]
    Time(#[source] jiff::Error),
    /// Topic and data contradict each other.
    #[error("the event is about another client than its topic")]
    OtherClient,
}

/// Of a topic of [`PRESENCE_FILTERS`] whether it tells of a beginning, and of which client.
pub fn client_of(topic: &str) -> Option<(bool, &str)> {
    let rest = topic.strip_prefix("$aws/events/presence/")?;
    let (kind, client) = rest.split_once('/')?;
    match kind {
        "connected" => Some((true, client)),
        "disconnected" => Some((false, client)),
        _ => None,
    }
}

// === impl LifecycleEvent ===

impl LifecycleEvent {
    /// Reads the data of an event on the topic of this client.
    ///
    /// # Errors
    /// [`InvalidLifecycleEvent`] when it is none.
    pub fn read(
        connected: bool,
        client_id: &str,
        payload: &[u8],
    ) -> Result<Self, InvalidLifecycleEvent> {
        let data: Data = serde_json::from_slice(payload).map_err(InvalidLifecycleEvent::Json)?;
        if data.client_id != client_id {
            return Err(InvalidLifecycleEvent::OtherClient);
        }
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let reason = data.disconnect_reason.filter(|reason| {
            !connected && (1..=WORD_BYTES).contains(&reason.len()) && reason.bytes().all(word)
        });
        Ok(Self {
            client_id: data.client_id,
            connected,
            version: data.version_number,
            at: Timestamp::from_millisecond(data.timestamp).map_err(InvalidLifecycleEvent::Time)?,
            reason,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    client_id: String,
    timestamp: i64,
    #[serde(default)]
    version_number: i64,
    #[serde(default)]
    disconnect_reason: Option<String>,
}

// `SERVER_INITIATED_DISCONNECT` is 27 bytes long.
const WORD_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_aws_documents_them_and_nothing_else_is_taken_for_one() {
        let topic = "$aws/events/presence/disconnected/c1-work-agent-client";
        let (connected, client) = client_of(topic).unwrap();
        let data = br#"{"clientId":"c1-work-agent-client","timestamp":1573002340451,"eventType":"disconnected",
            "sessionIdentifier":"00000000-0000-0000-0000-000000000000","principalIdentifier":"abc",
            "clientInitiatedDisconnect":true,"disconnectReason":"CLIENT_INITIATED_DISCONNECT","versionNumber":3}"#;
        let event = LifecycleEvent::read(connected, client, data).unwrap();
        assert_eq!((event.connected, event.version), (false, 3));
        assert_eq!(event.at.as_millisecond(), 1_573_002_340_451);
        assert_eq!(event.reason.as_deref(), Some("CLIENT_INITIATED_DISCONNECT"));
        assert!(LifecycleEvent::read(connected, "c2-work-agent-client", data).is_err());
        assert!(LifecycleEvent::read(connected, client, b"{}").is_err());
        for topic in [
            "$aws/events/presence/connect_failed/c1",
            "$aws/events/subscriptions/subscribed/c1",
            "aws/events/presence/connected/c1",
        ] {
            assert_eq!(client_of(topic), None);
        }
    }
}
