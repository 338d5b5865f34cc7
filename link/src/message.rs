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
    /// The properties that no event has; `None` is as good as none of them. Boxed, because messages wait in queues.
    pub extra: Option<Box<ExtraProperties>>,
}

/// MQTT 5 properties of a PUBLISH that events do not use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraProperties {
    /// Payload Format Indicator: 0 for bytes, 1 for UTF-8 text.
    pub payload_format_indicator: Option<u8>,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
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
            + self.extra.as_ref().map_or(0, |extra| extra.packet_bytes())
    }

    /// Bytes of the whole MQTT 5 PUBLISH at QoS 1 as it is sent: fixed header, topic, packet id, properties and
    /// payload. This is what a broker's Maximum Packet Size counts.
    pub fn packet_bytes(&self) -> usize {
        // Each property is its identifier and its value; a text is its length in two bytes and itself (MQTT 5 §2.2.2).
        let texts: usize = self
            .user_properties
            .iter()
            .map(|(name, value)| 1 + 2 + name.len() + 2 + value.len())
            .sum();
        let properties = texts
            + self.expiry_seconds.map_or(0, |_| 1 + 4)
            + self
                .content_type
                .as_ref()
                .map_or(0, |text| 1 + 2 + text.len())
            + self.extra.as_ref().map_or(0, |extra| extra.packet_bytes());
        let remaining = 2
            + self.topic.len()
            + PACKET_ID_BYTES
            + variable_integer_bytes(properties)
            + properties
            + self.payload.len();
        1 + variable_integer_bytes(remaining) + remaining
    }
}

// === impl ExtraProperties ===

impl ExtraProperties {
    // Each is its identifier and its value, a text or bytes with their length in two bytes (MQTT 5 §2.2.2).
    fn packet_bytes(&self) -> usize {
        self.payload_format_indicator.map_or(0, |_| 1 + 1)
            + self
                .response_topic
                .as_ref()
                .map_or(0, |text| 1 + 2 + text.len())
            + self
                .correlation_data
                .as_ref()
                .map_or(0, |bytes| 1 + 2 + bytes.len())
    }
}

// A Variable Byte Integer holds seven bits per byte (MQTT 5 §1.5.5). Past four bytes it cannot be encoded at all; such a
// message is far over every limit.
fn variable_integer_bytes(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

const PACKET_ID_BYTES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_counted_with_its_headers() {
        // 0x32, length, topic (2 + 1), packet id (2), property length (1), payload (1).
        assert_eq!(Message::new("t", "p").packet_bytes(), 1 + 1 + 3 + 2 + 1 + 1);
        let message = Message {
            content_type: Some("text".into()),
            user_properties: vec![("k".into(), "value".into()), ("k".into(), String::new())],
            expiry_seconds: Some(1),
            ..Message::new("t", "p")
        };
        let properties = (1 + 4) + (1 + 2 + 4) + (1 + 2 + 1 + 2 + 5) + (1 + 2 + 1 + 2);
        assert_eq!(message.packet_bytes(), 1 + 1 + 3 + 2 + 1 + properties + 1);
        let message = Message {
            extra: Some(Box::new(ExtraProperties {
                payload_format_indicator: Some(1),
                response_topic: Some("r/t".into()),
                correlation_data: Some("id".into()),
            })),
            ..message
        };
        let properties = properties + (1 + 1) + (1 + 2 + 3) + (1 + 2 + 2);
        assert_eq!(message.packet_bytes(), 1 + 1 + 3 + 2 + 1 + properties + 1);
    }

    #[test]
    fn lengths_take_one_more_byte_past_each_step() {
        for (payload, length) in [
            (121, 1),
            (122, 2),
            (16_377, 2),
            (16_378, 3),
            (2_097_145, 3),
            (2_097_146, 4),
        ] {
            let message = Message::new("t", vec![0; payload]);
            let remaining = 3 + 2 + 1 + payload;
            assert_eq!(message.packet_bytes(), 1 + length + remaining, "{payload}");
        }
    }
}
