//! MQTT 3.1.1 to and from the common packet model. It has no reason codes: what 5 says in a code, 3.1.1 says by
//! closing the connection (docs/IOT-CORE.md §1.3).

use std::time::Duration;

use rmqtt_codec::types::{Publish as WirePublish, QoS};
use rmqtt_codec::v3::{ConnectAck, ConnectAckReason, Packet, SubscribeReturnCode};

use crate::broker::packet::{
    Connect, Inbound, Outbound, Properties, Publish, SubscribeOptions, Version, Will,
};

pub(super) fn connect(packet: Packet) -> Option<Connect> {
    let Packet::Connect(connect) = packet else {
        return None;
    };
    Some(Connect {
        version: Version::V3,
        client_id: connect.client_id.to_string(),
        clean_start: connect.clean_session,
        session_expiry: if connect.clean_session {
            Duration::ZERO
        } else {
            Duration::MAX
        },
        keep_alive: connect.keep_alive,
        receive_maximum: u16::MAX,
        maximum_packet: None,
        will: connect.last_will.map(|will| Will {
            topic: will.topic.to_string(),
            payload: will.message,
            qos: will.qos,
            retain: will.retain,
            expiry: None,
            properties: Properties::default(),
        }),
    })
}

pub(super) fn inbound(packet: Packet) -> Inbound {
    match packet {
        Packet::Publish(publish) => Inbound::Publish(Publish {
            packet_id: publish.packet_id,
            topic: publish.topic.to_string(),
            alias: None,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expiry: None,
            properties: Properties::default(),
        }),
        Packet::PublishAck { packet_id } => Inbound::PubAck(packet_id.get()),
        Packet::Subscribe {
            packet_id,
            topic_filters,
        } => Inbound::Subscribe {
            packet_id,
            identifier: false,
            filters: topic_filters
                .into_iter()
                .map(|(filter, qos)| (filter.to_string(), options(qos)))
                .collect(),
        },
        Packet::Unsubscribe {
            packet_id,
            topic_filters,
        } => Inbound::Unsubscribe {
            packet_id,
            filters: topic_filters.iter().map(ToString::to_string).collect(),
        },
        Packet::PingRequest => Inbound::Ping,
        Packet::Disconnect => Inbound::Disconnect {
            will: false,
            session_expiry: None,
        },
        Packet::Connect(_)
        | Packet::ConnectAck(_)
        | Packet::PublishReceived { .. }
        | Packet::PublishRelease { .. }
        | Packet::PublishComplete { .. }
        | Packet::SubscribeAck { .. }
        | Packet::UnsubscribeAck { .. }
        | Packet::PingResponse => Inbound::Unsupported,
    }
}

/// `None` where 3.1.1 has no such packet.
pub(super) fn outbound(packet: Outbound) -> Option<Packet> {
    Some(match packet {
        // Only accepted connections get one: a refusal is a bare close (docs/IOT-CORE.md §1.3).
        Outbound::ConnAck(ack) => Packet::ConnectAck(ConnectAck {
            return_code: ConnectAckReason::ConnectionAccepted,
            session_present: ack.session_present,
        }),
        Outbound::Publish {
            packet_id,
            qos,
            retain,
            expiry_seconds: _,
            message,
        } => Packet::Publish(Box::new(WirePublish {
            dup: false,
            retain,
            qos,
            topic: (&*message.topic).into(),
            packet_id,
            payload: message.payload.clone(),
            properties: None,
        })),
        Outbound::PubAck(packet_id, _) => Packet::PublishAck { packet_id },
        Outbound::SubAck(packet_id, reasons) => Packet::SubscribeAck {
            packet_id,
            status: reasons
                .into_iter()
                .map(|reason| match reason.0 {
                    0 => SubscribeReturnCode::Success(QoS::AtMostOnce),
                    1 => SubscribeReturnCode::Success(QoS::AtLeastOnce),
                    _ => SubscribeReturnCode::Failure,
                })
                .collect(),
        },
        Outbound::UnsubAck(packet_id, _) => Packet::UnsubscribeAck { packet_id },
        Outbound::Pong => Packet::PingResponse,
        Outbound::Disconnect(_) => return None,
    })
}

fn options(qos: QoS) -> SubscribeOptions {
    SubscribeOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    }
}
