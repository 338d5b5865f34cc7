//! Log lines that a client can cause: one per kind and interval, bounded in length, with a count of what was held back.

use std::fmt;
use std::time::Duration;

use link::telemetry::{Throttle, clip};
use tokio::time::Instant;

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Notice {
    /// A connection could not be accepted.
    Accept,
    /// There are too many connections.
    Full,
    /// The TLS handshake failed.
    Tls,
    /// The client offered no ALPN.
    Alpn,
    /// The certificate is not ACTIVE.
    Certificate,
    /// The client sent something before CONNACK.
    Early,
    /// A policy refused; by certificate, action and name.
    Denied(String),
}

/// The throttle of one broker.
#[derive(Debug)]
pub(super) struct Notices(Throttle<Notice>);

// === impl Notices ===

impl Notices {
    pub(super) fn new() -> Self {
        Self(Throttle::new(INTERVAL, KINDS))
    }

    /// Writes the line, unless one of its kind was written a moment ago. `from` is who caused it.
    pub(super) fn write(&self, notice: &Notice, from: impl fmt::Display, text: impl fmt::Display) {
        let Some(held) = self.0.admit(notice, Instant::now()) else {
            return;
        };
        let (from, text) = (from.to_string(), text.to_string());
        let (from, text) = (clip(&from, FROM), clip(&text, TEXT));
        match notice {
            Notice::Accept | Notice::Full => tracing::warn!(%from, held, "{text}"),
            _ => tracing::info!(%from, held, "{text}"),
        }
    }
}

// A person sees a change of policy or certificate at the next try of most clients.
const INTERVAL: Duration = Duration::from_secs(10);

// Lines in one interval at most. A party of a region is refused a dozen things when its policy is missing.
const KINDS: usize = 64;

// A client id has 128 bytes at most.
const FROM: usize = 160;

// An explanation names a topic of 256 bytes and a few statements.
const TEXT: usize = 2048;
