//! Mutual exclusion per key: two tasks must not change the same object or work at the same time.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Locks by key. Keys share them, which is harmless as long as nobody holds two.
pub(crate) struct KeyedLock {
    locks: Vec<Mutex<()>>,
    hasher: RandomState,
}

// === impl KeyedLock ===

impl KeyedLock {
    /// Locks a key; waits while another task holds it.
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

// Some fifty requests are under way at most; with several times as many locks few of them wait for another key.
const LOCKS: u64 = 256;
