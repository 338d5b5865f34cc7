//! One at a time per key: two who look at the same object or work must not pass each other.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Locks by key. Keys share them, which is harmless as long as nobody holds two.
pub(crate) struct KeyedLock {
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

// === impl KeyedLock ===

impl KeyedLock {
    /// Waits until nobody else has the turn of this key.
    pub(crate) async fn of(&self, key: &(impl Hash + ?Sized)) -> MutexGuard<'_, ()> {
        let lock = self.hasher.hash_one(key) % LOCKS;
        self.locks[lock as usize].lock().await
    }
}

impl Default for KeyedLock {
    fn default() -> Self {
        Self {
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

// Some fifty requests are under way at most; with several times as many locks few of them wait for a stranger.
const LOCKS: u64 = 256;
