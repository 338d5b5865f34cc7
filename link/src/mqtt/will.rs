//! The message that the broker publishes when a connection ends without a DISCONNECT.

use rumqttc::{LastWill, LastWillProperties};

use super::session::Qos;
use crate::message::Message;

/// A will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// What is published.
    pub message: Message,
    /// With which guarantee.
    pub qos: Qos,
    /// MQTT 5 Will Delay Interval in seconds: a connection that is back by then has had no end.
    pub delay_seconds: Option<u32>,
}

// === impl Will ===

impl Will {
    pub(super) fn as_sent(&self) -> LastWill {
        let Message {
            topic,
            payload,
            content_type,
            user_properties,
            retain,
            expiry_seconds,
            extra,
        } = self.message.clone();
        let extra = extra.map(|extra| *extra).unwrap_or_default();
        let properties = LastWillProperties {
            delay_interval: self.delay_seconds,
            payload_format_indicator: extra.payload_format_indicator,
            message_expiry_interval: expiry_seconds,
            content_type,
            response_topic: extra.response_topic,
            correlation_data: extra.correlation_data,
            user_properties,
        };
        let qos = self.qos.as_sent();
        LastWill::new(topic, payload, qos, retain, Some(properties))
    }
}
