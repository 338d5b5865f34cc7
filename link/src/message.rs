//! One MQTT application message as the rest of the crate sees it, free of any client library's types.

use bytes::Bytes;

/// A message to publish or one that was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Topic name; never a filter.
    pub topic: String,
    /// Application payload, at most 131 072 bytes on IoT Core.
    pub payload: Bytes,
    /// MQTT 5 Content Type.
    pub content_type: Option<String>,
    /// MQTT 5 User Properties in wire order; keys may repeat.
    pub user_properties: Vec<(String, String)>,
    /// Whether the broker should keep (or did keep) the message for later subscribers.
    pub retain: bool,
    /// MQTT 5 Message Expiry Interval in seconds.
    pub expiry_seconds: Option<u32>,
}

// === impl Message ===

impl Message {
    /// A bare message without properties.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            ..Self::default()
        }
    }

    /// Bytes that count against IoT Core's per-connection throughput and metering: topic, payload and properties.
    pub fn metered_bytes(&self) -> usize {
        let properties: usize = self
            .user_properties
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        self.topic.len()
            + self.payload.len()
            + properties
            + self.content_type.as_ref().map_or(0, String::len)
    }
}
