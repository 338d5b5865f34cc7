//! Pool of MQTT sessions. A consumer always uses the same session, so that its events stay in order.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use link::id::ConsumerName;
use link::mqtt::Session;

use super::transport::Outlet;

/// Which of `sessions` sessions, at least one, is a consumer's.
pub(crate) fn index_of(consumer: &ConsumerName, sessions: usize) -> usize {
    // Fixed keys: the choice need not survive a restart, only stay the same within one.
    let mut hasher = DefaultHasher::new();
    consumer.hash(&mut hasher);
    usize::try_from(hasher.finish() % sessions.max(1) as u64).unwrap_or_default()
}

/// The sessions of this bridge.
#[derive(Clone)]
pub struct Pool(Arc<[Box<dyn Outlet>]>);

// === impl Pool ===

impl Pool {
    /// A pool of one or more sessions; `None` without any.
    pub fn new(sessions: Vec<Session>) -> Option<Self> {
        Self::of_outlets(
            sessions
                .into_iter()
                .map(|session| Box::new(session) as Box<dyn Outlet>)
                .collect(),
        )
    }

    pub(super) fn of_outlets(outlets: Vec<Box<dyn Outlet>>) -> Option<Self> {
        (!outlets.is_empty()).then(|| Self(outlets.into()))
    }

    /// How many sessions there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Which session is a consumer's.
    pub(super) fn index_of(&self, consumer: &ConsumerName) -> usize {
        index_of(consumer, self.0.len())
    }

    /// The session of a consumer.
    pub(super) fn of(&self, consumer: &ConsumerName) -> &dyn Outlet {
        self.at(self.index_of(consumer))
    }

    /// A session by its index.
    pub(super) fn at(&self, index: usize) -> &dyn Outlet {
        self.0[index].as_ref()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.0.len())
    }
}
