//! Translates between the packets of MQTT 3.1.1 and 5 and the one model of [`packet`](super::packet).

use rmqtt_codec::MqttPacket;
use rmqtt_codec::error::EncodeError;

use super::packet::{Connect, Inbound, Outbound, Version};

mod v3;
mod v5;

/// Translates what the broker sends; `None` where the version has no such packet.
pub(super) fn outbound(
    version: Version,
    packet: Outbound,
) -> Result<Option<MqttPacket>, EncodeError> {
    Ok(match version {
        Version::V3 => v3::outbound(packet).map(MqttPacket::V3),
        Version::V5 => Some(MqttPacket::V5(v5::outbound(packet)?)),
    })
}

/// Translates a packet of a connected client.
pub(super) fn inbound(packet: MqttPacket) -> Inbound {
    match packet {
        MqttPacket::V3(packet) => v3::inbound(packet),
        MqttPacket::V5(packet) => v5::inbound(packet),
        MqttPacket::Version(_) => Inbound::Unsupported,
    }
}

/// Translates the first packet; anything but CONNECT is `None`.
pub(super) fn connect(packet: MqttPacket) -> Option<Connect> {
    match packet {
        MqttPacket::V3(packet) => v3::connect(packet),
        MqttPacket::V5(packet) => v5::connect(packet),
        MqttPacket::Version(_) => None,
    }
}
