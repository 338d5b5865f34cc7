//! A connection in use. Given back, it goes to the next; dropped, it is closed: whatever still ran on it is stopped by the
//! server, and nobody waits for it.
//!
//! The library asks the server whether a connection that is given back still works, without a limit: one whose way was
//! lost just then would keep its place among the connections until the kernel gives up. Here that question has a limit.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::limits::PING_ANSWER;
use super::queue::Place;

/// A connection of the pool.
pub(super) struct Lease {
    connection: PoolConnection<Postgres>,
    clean: bool,
    /// Kept until the connection is back: the next in the queue finds it free.
    place: Option<Place>,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(connection: PoolConnection<Postgres>, place: Option<Place>) -> Self {
        Self {
            connection,
            clean: false,
            place,
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
        match Handle::try_current() {
            Ok(runtime) if self.clean => {
                let back = self.connection.return_to_pool();
                let place = self.place.take();
                // What does not answer is closed when this gives up.
                runtime.spawn(async move {
                    let _ = timeout(PING_ANSWER, back).await;
                    drop(place);
                });
            }
            _ => self.connection.close_on_drop(),
        }
    }
}
