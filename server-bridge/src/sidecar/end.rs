//! Why a connection of the server ends, and what it is told.

use rmqtt_codec::v5::DisconnectReasonCode as Code;

/// Why it ends.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    /// The server said so.
    Left,
    /// It is broken.
    Broken,
    /// The server was silent for longer than its keep-alive allows.
    Silent,
    /// The server has read nothing for as long.
    Stuck,
    /// Another connection has the same client id.
    TakenOver,
    /// The broker began a session anew: the server must subscribe again, and so come to resync.
    Lost,
    /// The process stops.
    Stopped,
    /// The server did what it may not.
    Fault(Code, &'static str),
}

// === impl ConnectionEnd ===

impl ConnectionEnd {
    pub(super) fn malformed(words: &'static str) -> Self {
        Self::Fault(Code::MalformedPacket, words)
    }

    pub(super) fn protocol(words: &'static str) -> Self {
        Self::Fault(Code::ProtocolError, words)
    }

    pub(super) fn qos() -> Self {
        let words = "events travel at QoS 1: set `pubQoS: 1`";
        Self::Fault(Code::QosNotSupported, words)
    }

    pub(super) fn alias() -> Self {
        Self::Fault(Code::TopicAliasInvalid, "topic aliases are not taken")
    }

    pub(super) fn identifier() -> Self {
        let words = "subscription identifiers are not taken";
        Self::Fault(Code::SubscriptionIdentifiersNotSupported, words)
    }

    pub(super) fn filters() -> Self {
        let words = "more than 8 filters on one connection";
        Self::Fault(Code::QuotaExceeded, words)
    }

    pub(super) fn too_large() -> Self {
        let words = "a packet larger than CONNACK allows";
        Self::Fault(Code::PacketTooLarge, words)
    }

    pub(super) fn window() -> Self {
        let words = "more events without their PUBACK than CONNACK allows";
        Self::Fault(Code::ReceiveMaximumExceeded, words)
    }

    pub(super) fn reused() -> Self {
        Self::protocol("a packet id whose PUBACK it has not got")
    }

    /// What the server is told; nothing when it cannot hear it.
    pub(super) fn told(&self) -> Option<(Code, &'static str)> {
        match self {
            Self::Left | Self::Broken => None,
            Self::Silent | Self::Stuck => Some((Code::KeepAliveTimeout, self.words())),
            Self::TakenOver => Some((Code::SessionTakenOver, self.words())),
            Self::Lost => Some((Code::AdministrativeAction, self.words())),
            Self::Stopped => Some((Code::ServerShuttingDown, self.words())),
            Self::Fault(code, words) => Some((*code, words)),
        }
    }

    /// For people.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Left => "it disconnected",
            Self::Broken => "the connection broke",
            Self::Silent => "it was silent for longer than its keep-alive allows",
            Self::Stuck => "it read nothing for longer than its keep-alive allows",
            Self::TakenOver => "another connection has the same client id",
            Self::Lost => {
                "the session with the broker was lost, and messages with it: connect again and resync"
            }
            Self::Stopped => "the sidecar stops",
            Self::Fault(_, words) => words,
        }
    }

    /// A cause for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Broken => "broken",
            Self::Silent | Self::Stuck => "silent",
            Self::TakenOver => "takeover",
            Self::Lost => "session_lost",
            Self::Stopped => "stopped",
            Self::Fault(..) => "fault",
        }
    }
}
