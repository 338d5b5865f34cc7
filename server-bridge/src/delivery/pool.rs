//! A pool of MQTT sessions; a consumer always uses the same one, so that its events stay in order.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use link::id::ConsumerName;
use link::mqtt::Session;

/// The sessions of this bridge.
#[derive(Clone, Debug)]
pub struct Pool(Arc<[Session]>);

// === impl Pool ===

impl Pool {
    /// A pool of one or more sessions; `None` without any.
    pub fn new(sessions: Vec<Session>) -> Option<Self> {
        (!sessions.is_empty()).then(|| Self(sessions.into()))
    }

    /// The session of a consumer.
    pub fn of(&self, consumer: &ConsumerName) -> &Session {
        // Fixed keys: the choice need not survive a restart, only stay the same within one.
        let mut hasher = DefaultHasher::new();
        consumer.hash(&mut hasher);
        let index = hasher.finish() % self.0.len() as u64;
        &self.0[usize::try_from(index).unwrap_or_default()]
    }

    /// Every session.
    pub fn sessions(&self) -> &[Session] {
        &self.0
    }
}
