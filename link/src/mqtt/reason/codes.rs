//! The MQTT 5 reason codes of CONNACK and DISCONNECT with their names in the specification.

use rumqttc::{ConnectReturnCode, DisconnectReasonCode};

/// Code and name of a CONNACK.
pub(super) fn connect_code(code: ConnectReturnCode) -> (u8, &'static str) {
    use ConnectReturnCode as Code;
    match code {
        Code::Success => (0x00, "success"),
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => {
            (0x84, "unsupported protocol version")
        }
        Code::BadClientId | Code::ClientIdentifierNotValid => (0x85, "client identifier not valid"),
        Code::ServiceUnavailable | Code::ServerUnavailable => (0x88, "server unavailable"),
        Code::UnspecifiedError => (0x80, "unspecified error"),
        Code::MalformedPacket => (0x81, "malformed packet"),
        Code::ProtocolError => (0x82, "protocol error"),
        Code::ImplementationSpecificError => (0x83, "implementation specific error"),
        Code::BadUserNamePassword => (0x86, "bad user name or password"),
        Code::NotAuthorized => (0x87, "not authorized"),
        Code::ServerBusy => (0x89, "server busy"),
        Code::Banned => (0x8a, "banned"),
        Code::BadAuthenticationMethod => (0x8c, "bad authentication method"),
        Code::TopicNameInvalid => (0x90, "topic name invalid"),
        Code::PacketTooLarge => (0x95, "packet too large"),
        Code::QuotaExceeded => (0x97, "quota exceeded"),
        Code::PayloadFormatInvalid => (0x99, "payload format invalid"),
        Code::RetainNotSupported => (0x9a, "retain not supported"),
        Code::QoSNotSupported => (0x9b, "QoS not supported"),
        Code::UseAnotherServer => (0x9c, "use another server"),
        Code::ServerMoved => (0x9d, "server moved"),
        Code::ConnectionRateExceeded => (0x9f, "connection rate exceeded"),
    }
}

/// Name of a DISCONNECT code.
pub(super) fn disconnect_name(code: DisconnectReasonCode) -> &'static str {
    use DisconnectReasonCode as Code;
    match code {
        Code::NotAuthorized => "not authorized",
        Code::ServerBusy => "server busy",
        Code::ServerShuttingDown => "server shutting down",
        Code::KeepAliveTimeout => "keep alive timeout",
        Code::SessionTakenOver => "session taken over",
        Code::TopicFilterInvalid => "topic filter invalid",
        Code::TopicNameInvalid => "topic name invalid",
        Code::ReceiveMaximumExceeded => "receive maximum exceeded",
        Code::TopicAliasInvalid => "topic alias invalid",
        Code::PacketTooLarge => "packet too large",
        Code::MessageRateTooHigh => "message rate too high",
        Code::QuotaExceeded => "quota exceeded",
        Code::AdministrativeAction => "administrative action",
        Code::PayloadFormatInvalid => "payload format invalid",
        Code::QoSNotSupported => "QoS not supported",
        Code::MaximumConnectTime => "maximum connect time",
        Code::SubscriptionIdentifiersNotSupported => "subscription identifiers not supported",
        Code::MalformedPacket => "malformed packet",
        Code::ProtocolError => "protocol error",
        _ => "unspecified error",
    }
}
