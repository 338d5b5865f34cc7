//! MQTT 5 to and from the common packet model.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use rmqtt_codec::error::EncodeError;
use rmqtt_codec::types::{Publish as WirePublish, QoS};
use rmqtt_codec::v5::{
    ConnectAck, Disconnect, DisconnectReasonCode, Packet, PublishAck, PublishProperties,
    SubscribeAck, UnsubscribeAck,
};

use crate::broker::packet::{
    Connect, Inbound, Outbound, Properties, Publish, SubscribeOptions, Version, Will,
};

pub(super) fn connect(packet: Packet) -> Option<Connect> {
    let Packet::Connect(connect) = packet else {
        return None;
    };
    Some(Connect {
        version: Version::V5,
        client_id: connect.client_id.to_string(),
        clean_start: connect.clean_start,
        session_expiry: Duration::from_secs(connect.session_expiry_interval_secs.into()),
        keep_alive: connect.keep_alive,
        receive_maximum: connect.receive_max.map_or(u16::MAX, NonZeroU16::get),
        maximum_packet: connect.max_packet_size.map(NonZeroU32::get),
        will: connect.last_will.map(|will| Will {
            topic: will.topic.to_string(),
            payload: will.message,
            qos: will.qos,
            retain: will.retain,
            expiry: will.message_expiry_interval.map(seconds),
            properties: Properties {
                content_type: will.content_type.map(|text| text.to_string()),
                response_topic: will.response_topic.map(|text| text.to_string()),
                correlation_data: will.correlation_data,
                utf8_payload: will.is_utf8_payload.unwrap_or_default(),
                user: will.user_properties,
            },
        }),
    })
}

pub(super) fn inbound(packet: Packet) -> Inbound {
    match packet {
        Packet::Publish(publish) => {
            let properties = publish.properties.unwrap_or_default();
            Inbound::Publish(Publish {
                packet_id: publish.packet_id,
                topic: publish.topic.to_string(),
                alias: properties.topic_alias.map(NonZeroU16::get),
                payload: publish.payload,
                qos: publish.qos,
                retain: publish.retain,
                expiry: properties.message_expiry_interval.map(seconds),
                properties: Properties {
                    content_type: properties.content_type.map(|text| text.to_string()),
                    response_topic: properties.response_topic.map(|text| text.to_string()),
                    correlation_data: properties.correlation_data,
                    utf8_payload: properties.is_utf8_payload,
                    user: properties.user_properties,
                },
            })
        }
        Packet::PublishAck(ack) => Inbound::PubAck(ack.packet_id.get()),
        Packet::Subscribe(subscribe) => Inbound::Subscribe {
            packet_id: subscribe.packet_id,
            identifier: subscribe.id.is_some(),
            filters: subscribe
                .topic_filters
                .into_iter()
                .map(|(filter, options)| {
                    let options = SubscribeOptions {
                        qos: options.qos,
                        no_local: options.no_local,
                        retain_as_published: options.retain_as_published,
                        retain_handling: options.retain_handling.into(),
                    };
                    (filter.to_string(), options)
                })
                .collect(),
        },
        Packet::Unsubscribe(unsubscribe) => Inbound::Unsubscribe {
            packet_id: unsubscribe.packet_id,
            filters: unsubscribe
                .topic_filters
                .iter()
                .map(ToString::to_string)
                .collect(),
        },
        Packet::PingRequest => Inbound::Ping,
        Packet::Disconnect(disconnect) => Inbound::Disconnect {
            will: disconnect.reason_code != DisconnectReasonCode::NormalDisconnection,
            session_expiry: disconnect
                .session_expiry_interval_secs
                .map(|seconds| Duration::from_secs(seconds.into())),
        },
        Packet::Connect(_)
        | Packet::ConnectAck(_)
        | Packet::PublishReceived(_)
        | Packet::PublishRelease(_)
        | Packet::PublishComplete(_)
        | Packet::SubscribeAck(_)
        | Packet::UnsubscribeAck(_)
        | Packet::PingResponse
        | Packet::Auth(_) => Inbound::Unsupported,
    }
}

/// # Errors
/// A reason code that the packet type does not know.
pub(super) fn outbound(packet: Outbound) -> Result<Packet, EncodeError> {
    let unknown = |_| EncodeError::MalformedPacket;
    Ok(match packet {
        Outbound::ConnAck(ack) if ack.reason.is_error() => ConnectAck {
            reason_code: ack.reason.0.try_into().map_err(unknown)?,
            ..ConnectAck::default()
        }
        .into(),
        Outbound::ConnAck(ack) => ConnectAck {
            session_present: ack.session_present,
            session_expiry_interval_secs: Some(ack.session_expiry),
            receive_max: NonZeroU16::new(ack.receive_maximum)
                .ok_or(EncodeError::MalformedPacket)?,
            max_qos: QoS::AtLeastOnce,
            max_packet_size: Some(ack.maximum_packet),
            assigned_client_id: ack.assigned_client_id.map(Into::into),
            topic_alias_max: ack.topic_aliases,
            subscription_identifiers_available: false,
            server_keepalive_sec: Some(ack.keep_alive),
            ..ConnectAck::default()
        }
        .into(),
        Outbound::Publish {
            packet_id,
            qos,
            retain,
            expiry_seconds,
            message,
        } => {
            let properties = &message.properties;
            Packet::Publish(Box::new(WirePublish {
                dup: false,
                retain,
                qos,
                topic: (&*message.topic).into(),
                packet_id,
                payload: message.payload.clone(),
                properties: Some(PublishProperties {
                    message_expiry_interval: expiry_seconds.and_then(NonZeroU32::new),
                    content_type: properties.content_type.as_deref().map(Into::into),
                    response_topic: properties.response_topic.as_deref().map(Into::into),
                    correlation_data: properties.correlation_data.clone(),
                    is_utf8_payload: properties.utf8_payload,
                    user_properties: properties.user.clone(),
                    ..PublishProperties::default()
                }),
            }))
        }
        Outbound::PubAck(packet_id, reason) => PublishAck {
            packet_id,
            reason_code: reason.0.try_into().map_err(unknown)?,
            properties: Vec::new(),
            reason_string: None,
        }
        .into(),
        Outbound::SubAck(packet_id, reasons) => SubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: reasons
                .into_iter()
                .map(|reason| reason.0.try_into().map_err(unknown))
                .collect::<Result<_, _>>()?,
        }
        .into(),
        Outbound::UnsubAck(packet_id, reasons) => UnsubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: reasons
                .into_iter()
                .map(|reason| reason.0.try_into().map_err(unknown))
                .collect::<Result<_, _>>()?,
        }
        .into(),
        Outbound::Pong => Packet::PingResponse,
        Outbound::Disconnect(reason) => {
            Disconnect::new(reason.0.try_into().map_err(unknown)?).into()
        }
    })
}

fn seconds(value: NonZeroU32) -> Duration {
    Duration::from_secs(value.get().into())
}
