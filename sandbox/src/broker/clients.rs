//! What is known of the last connection of each client: GetConnection, and the numbers that order lifecycle events.
//!
//! A client that went is remembered for as long as AWS remembers it: the moment and the reason for half an hour, the rest as
//! long as its session, the number of its last event for an hour (docs/IOT-CORE.md §1.4).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::lock;
use super::presence::DisconnectReason;
use super::registry::Fingerprint;

/// A client's connection, or the last one it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The client id.
    pub client_id: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Its certificate.
    pub certificate: Fingerprint,
    /// The thing that the certificate is attached to.
    pub thing_name: Option<String>,
    /// Whether its session ends with the connection.
    pub clean_session: bool,
    /// The keep-alive it asked for, in seconds.
    pub keep_alive: u16,
    /// How long its session outlives the connection.
    pub session_expiry: Duration,
    /// When it connected.
    pub connected_since: Timestamp,
    /// When and why it went; only for half an hour after that.
    pub disconnected: Option<(Timestamp, DisconnectReason)>,
    /// The client's address and the one it dialled; absent without a socket.
    pub sockets: Option<(SocketAddr, SocketAddr)>,
}

/// The records of one broker.
#[derive(Debug, Default)]
pub(super) struct Clients {
    known: Mutex<HashMap<Arc<str>, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    version: u64,
    // The connection that the record is of.
    link: Option<u64>,
    record: Option<ConnectionRecord>,
    gone: Option<Instant>,
}

// === impl Clients ===

impl Clients {
    /// The number of the client's next connection: one more than that of its last, 0 for a client that is not known (any
    /// more).
    pub(super) fn next_version(&self, client_id: &Arc<str>, now: Instant) -> u64 {
        let mut known = lock(&self.known);
        if known.len() >= MOST {
            known.retain(|_, client| client.gone.is_none());
        }
        if let Some(client) = known.get_mut(client_id)
            && !client.is_forgotten(now)
        {
            client.version += 1;
            return client.version;
        }
        // Forgotten an hour from now, unless it connects.
        let client = Known {
            gone: Some(now),
            ..Known::default()
        };
        known.insert(client_id.clone(), client);
        0
    }

    /// A client is connected.
    pub(super) fn connected(&self, client_id: &Arc<str>, link: u64, record: ConnectionRecord) {
        let mut known = lock(&self.known);
        let client = known.entry(client_id.clone()).or_default();
        client.link = Some(link);
        client.record = Some(record);
        client.gone = None;
    }

    /// A connection ended; nothing happens if the client has another one by now.
    pub(super) fn disconnected(
        &self,
        client_id: &str,
        link: u64,
        session_expiry: Duration,
        end: (Timestamp, DisconnectReason),
        now: Instant,
    ) {
        let mut known = lock(&self.known);
        let Some(client) = known.get_mut(client_id) else {
            return;
        };
        if client.link != Some(link) {
            return;
        }
        client.gone = Some(now);
        if let Some(record) = &mut client.record {
            record.connected = false;
            record.session_expiry = session_expiry;
            record.disconnected = Some(end);
        }
    }

    /// What is known of a client.
    pub(super) fn get(&self, client_id: &str, now: Instant) -> Option<ConnectionRecord> {
        let known = lock(&self.known);
        let client = known.get(client_id)?;
        let mut record = client.record.clone()?;
        let Some(gone) = client.gone else {
            return Some(record);
        };
        let away = now.saturating_duration_since(gone);
        if away >= DISCONNECTED_KNOWN {
            record.disconnected = None;
            if away >= record.session_expiry {
                return None;
            }
        }
        Some(record)
    }

    /// Forgets clients whose time is over.
    pub(super) fn expire(&self, now: Instant) {
        lock(&self.known).retain(|_, client| !client.is_forgotten(now));
    }
}

// === impl Known ===

impl Known {
    fn is_forgotten(&self, now: Instant) -> bool {
        let Some(gone) = self.gone else { return false };
        let session = self.record.as_ref().map(|record| record.session_expiry);
        let kept = session.unwrap_or_default().max(VERSION_KNOWN);
        now.saturating_duration_since(gone) >= kept
    }
}

/// How long GetConnection tells when and why a client went (the API reference).
const DISCONNECTED_KNOWN: Duration = Duration::from_secs(30 * 60);

// "If a client is not connected for approximately one hour, the version number is reset to 0"; with a persistent session
// once that has ended (AWS IoT Core Developer Guide, lifecycle events).
const VERSION_KNOWN: Duration = Duration::from_secs(60 * 60);

// Clients that are away are forgotten early beyond this many.
const MOST: usize = 65_536;
