//! Packets of the server's MQTT 5 connection to and from messages, and answers with their reasons in words.

use std::num::{NonZeroU16, NonZeroU32};

use link::error::chain;
use link::message::Message;
use link::mqtt::{Ack, PublishError, SubscribeError};
use link::telemetry::clip;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{
    ConnectAck, ConnectAckReason, Disconnect, DisconnectReasonCode, Packet, PublishAck,
    PublishAckReason, PublishProperties, SubscribeAck, SubscribeAckReason, UnsubscribeAck,
    UnsubscribeAckReason,
};

use super::{KEEP_ALIVE_SECONDS, PACKET_BYTES};

/// What a PUBLISH holds, as it goes on.
///
/// # Errors
/// What it holds that the link does not carry.
pub(super) fn message(publish: Publish) -> Result<Message, &'static str> {
    let properties = publish.properties.unwrap_or_default();
    if properties.response_topic.is_some() || properties.correlation_data.is_some() {
        return Err("a response topic and correlation data are not carried");
    }
    if publish.retain {
        return Err("events are not retained");
    }
    let user_properties = properties.user_properties.iter();
    Ok(Message {
        topic: publish.topic.to_string(),
        payload: publish.payload,
        content_type: properties.content_type.map(|text| text.to_string()),
        user_properties: user_properties
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        retain: false,
        expiry_seconds: properties.message_expiry_interval.map(NonZeroU32::get),
        extra: None,
    })
}

/// A message as the server gets it, at QoS 1.
pub(super) fn publish(packet_id: NonZeroU16, message: &Message) -> Packet {
    let user_properties = message.user_properties.iter();
    Packet::Publish(Box::new(Publish {
        dup: false,
        retain: false,
        qos: QoS::AtLeastOnce,
        topic: message.topic.as_str().into(),
        packet_id: Some(packet_id),
        payload: message.payload.clone(),
        properties: Some(PublishProperties {
            message_expiry_interval: message.expiry_seconds.and_then(NonZeroU32::new),
            content_type: message.content_type.as_deref().map(Into::into),
            user_properties: user_properties
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            ..PublishProperties::default()
        }),
    }))
}

/// The answer to a PUBLISH, and its outcome for metrics; `None` when there is none, because the sidecar stops.
pub(super) fn settled(
    packet_id: NonZeroU16,
    result: &Result<Ack, PublishError>,
) -> Option<(Packet, &'static str)> {
    let (reason_code, outcome) = match result {
        Ok(Ack { matched: true }) => (PublishAckReason::Success, "acknowledged"),
        Ok(Ack { matched: false }) => (PublishAckReason::NoMatchingSubscribers, "unmatched"),
        Err(PublishError::Refused { code, .. }) => {
            let unknown = PublishAckReason::UnspecifiedError;
            (
                PublishAckReason::try_from(*code).unwrap_or(unknown),
                "refused",
            )
        }
        // "An implementation or administrative imposed limit has been exceeded" (MQTT 5, 3.4.2.1).
        Err(PublishError::Limit { .. }) => (PublishAckReason::QuotaExceeded, "too_large"),
        Err(PublishError::Poison { .. }) => {
            (PublishAckReason::ImplementationSpecificError, "poison")
        }
        Err(PublishError::Closed) => return None,
    };
    let text = result.as_ref().err().map(|error| chain(error));
    Some((puback(packet_id, reason_code, text.as_deref()), outcome))
}

/// PUBACK with a reason.
pub(super) fn puback(
    packet_id: NonZeroU16,
    reason_code: PublishAckReason,
    text: Option<&str>,
) -> Packet {
    Packet::PublishAck(PublishAck {
        packet_id,
        reason_code,
        properties: Vec::new(),
        reason_string: text.map(|text| words(text).into()),
    })
}

/// SUBACK with the reasons of those that were refused.
pub(super) fn suback(
    packet_id: NonZeroU16,
    status: Vec<SubscribeAckReason>,
    text: Option<&str>,
) -> Packet {
    Packet::SubscribeAck(SubscribeAck {
        packet_id,
        properties: Vec::new(),
        reason_string: text.map(|text| words(text).into()),
        status,
    })
}

/// The broker's own refusal of a filter.
pub(super) fn refusal(error: &SubscribeError) -> SubscribeAckReason {
    SubscribeAckReason::try_from(error.code).unwrap_or(SubscribeAckReason::UnspecifiedError)
}

/// UNSUBACK of so many filters.
pub(super) fn unsuback(packet_id: NonZeroU16, filters: usize) -> Packet {
    Packet::UnsubscribeAck(UnsubscribeAck {
        packet_id,
        properties: Vec::new(),
        reason_string: None,
        status: vec![UnsubscribeAckReason::Success; filters],
    })
}

/// CONNACK of a connection that is taken; `window` is how many events may wait for their PUBACK.
pub(super) fn accepted(window: NonZeroU16, keep_alive: u16) -> Packet {
    ConnectAck {
        // Nothing is kept of a connection that ends, whatever was asked for.
        session_expiry_interval_secs: Some(0),
        receive_max: window,
        max_qos: QoS::AtLeastOnce,
        max_packet_size: Some(PACKET_BYTES),
        retain_available: false,
        subscription_identifiers_available: false,
        server_keepalive_sec: (keep_alive == 0).then_some(KEEP_ALIVE_SECONDS),
        ..ConnectAck::default()
    }
    .into()
}

/// CONNACK of a connection that is refused.
pub(super) fn refused(reason_code: ConnectAckReason, text: &str) -> Packet {
    ConnectAck {
        reason_code,
        reason_string: Some(words(text).into()),
        ..ConnectAck::default()
    }
    .into()
}

/// DISCONNECT with its reason.
pub(super) fn disconnect(reason_code: DisconnectReasonCode, text: &str) -> Packet {
    let mut disconnect = Disconnect::new(reason_code);
    disconnect.reason_string = Some(words(text).into());
    disconnect.into()
}

fn words(text: &str) -> String {
    clip(text, WORDS_BYTES).into_owned()
}

// One line of a log.
const WORDS_BYTES: usize = 512;
