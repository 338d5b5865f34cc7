//! Faults before the first packet: the port, the handshake, and what the broker shows and takes in it.
//!
//! Those of port and handshake are the first listener's alone, as a firewall closes 8883 and leaves 443 open; the others are
//! every listener's.

use crate::pki::Set;

/// What goes wrong before CONNECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// Another server certificate than the broker's own.
    pub identity: Option<Set>,
    /// The only server name that is taken; a client that sends none is refused too.
    pub server_name: Option<String>,
    /// The only version of TLS.
    pub tls_version: Option<TlsVersion>,
    /// What is asked of ALPN.
    pub alpn: AlpnRule,
    /// How the port looks.
    pub port: Port,
    /// What happens to a connection before TLS.
    pub handshake: Handshake,
    /// How a certificate that may not connect is refused.
    pub certificate_refusal: CertificateRefusal,
    /// Whether a client certificate must be valid at this time. Whether IoT Core looks is not known (docs/IOT-CORE.md §7).
    pub check_dates: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// What is asked of ALPN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlpnRule {
    /// As the listener was made.
    #[default]
    Own,
    /// `x-amzn-mqtt-ca` must be offered, as on port 443.
    Required,
    /// Only a protocol that no MQTT client offers is taken.
    Foreign,
}

/// How a port looks from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Port {
    /// Connections are accepted.
    #[default]
    Open,
    /// Connections are refused.
    Closed,
    /// Nothing answers, as behind a firewall that drops; needs Linux, where a full queue drops what is new.
    Silent,
}

/// What happens to a connection before TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handshake {
    /// The handshake.
    #[default]
    Normal,
    /// It is closed.
    Closed,
    /// Nothing is answered, and nothing is closed.
    Unanswered,
    /// The peer speaks HTTP without TLS.
    Plaintext,
}

/// How a certificate is refused that is not registered as ACTIVE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateRefusal {
    /// At CONNECT, with CONNACK 0x87 in MQTT 5.
    #[default]
    Answered,
    /// At CONNECT, by a close without CONNACK in both versions.
    Silent,
    /// In the handshake, by an alert; a client of TLS 1.3 sees it at its first read.
    Handshake,
}
