//! A connection taken from the pool. Given back, it serves the next operation; dropped, it is closed, and the server stops
//! what still ran on it.
//!
//! The library pings a connection that is given back, without a time-out: a connection whose network path is lost would
//! keep its permit until the kernel gives up. Here the ping has a time-out.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::limits::PING_ANSWER;
use super::queue::Permit;

/// A connection of the pool.
pub(super) struct Checkout {
    connection: PoolConnection<Postgres>,
    clean: bool,
    /// Kept until the connection is back: the next in the queue finds it free.
    permit: Option<Permit>,
}

// === impl Checkout ===

impl Checkout {
    pub(super) fn new(connection: PoolConnection<Postgres>, permit: Option<Permit>) -> Self {
        Self {
            connection,
            clean: false,
            permit,
        }
    }

    /// What ran on it is over and left nothing behind.
    pub(super) fn give_back(mut self) {
        self.clean = true;
    }
}

impl Deref for Checkout {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        match Handle::try_current() {
            Ok(runtime) if self.clean => {
                let back = self.connection.return_to_pool();
                let permit = self.permit.take();
                // What does not answer is closed when this gives up.
                runtime.spawn(async move {
                    let _ = timeout(PING_ANSWER, back).await;
                    drop(permit);
                });
            }
            _ => self.connection.close_on_drop(),
        }
    }
}
