//! A connection in use. Given back, it goes to the next; dropped, it is closed: whatever still ran on it is stopped by the
//! server, and nobody waits for it.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

/// A connection of the pool.
pub(super) struct Lease {
    connection: PoolConnection<Postgres>,
    clean: bool,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self {
            connection,
            clean: false,
        }
    }

    /// What ran on it is over and left nothing behind.
    pub(super) fn give_back(mut self) {
        self.clean = true;
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.clean {
            self.connection.close_on_drop();
        }
    }
}
