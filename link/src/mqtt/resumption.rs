//! Lets the first connection of a process go on with a session that the broker kept for an earlier process.
//!
//! The client library refuses such a session unless it is told which packets of it are under way. None are: what the
//! earlier process sent without an acknowledgement went with that process, and at QoS 1 the broker remembers nothing of
//! it. So every load answers with a session that has nothing in flight, and nothing is ever written down.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rumqttc::{
    PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey,
};

/// A store of sessions in which nothing is in flight.
#[derive(Debug)]
pub(super) struct Resumption {
    /// Publishes that may be in flight; the library compares it with its own setting.
    pub(super) window: u16,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, SessionStoreError>>;

impl SessionStore for Resumption {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: FORMAT,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(self.window),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        async { Ok(Some(session)) }.boxed()
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        async { Ok(()) }.boxed()
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        async { Ok(()) }.boxed()
    }
}

// The one that the library, whose version is pinned, writes and reads.
const FORMAT: u16 = 1;
