//! The stages of a check, in order.

/// One stage. Each needs all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Stage {
    /// Certificate, key and CA on disk.
    Files,
    /// The host's addresses.
    Dns,
    /// A TCP connection.
    Tcp,
    /// The TLS handshake, and that our certificate is taken.
    Tls,
    /// CONNECT and CONNACK.
    Connect,
    /// SUBSCRIBE and SUBACK.
    Subscribe,
    /// PUBLISH and PUBACK.
    Publish,
    /// The published message coming back.
    RoundTrip,
}

// === impl Stage ===

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 8] = [
        Self::Files,
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Connect,
        Self::Subscribe,
        Self::Publish,
        Self::RoundTrip,
    ];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::RoundTrip => "round-trip",
        }
    }
}
