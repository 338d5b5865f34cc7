//! A replica whose lease has been over for long leaves the broker: as a member of the shared subscription it would keep
//! its part of everybody's statuses, none of which it can store; and its slot, and with it its client ids, may be given to
//! another process.
//!
//! It comes back with the next renewal, and its fresh subscription asks everybody for statuses. When the database is away
//! for all, all leave.

use tokio::time::{Instant, sleep_until};

use super::ownership::Ownership;
use super::{MARGIN, TTL};

/// Says whether this process may be connected, for as long as it is polled.
pub(super) async fn watch(ownership: &Ownership) {
    let mut changes = ownership.changes();
    // As if it were renewed now: the slot was just taken.
    let begun = Instant::now() + TTL - MARGIN;
    loop {
        let over_at = ownership.last_until().unwrap_or(begun) + TTL;
        if ownership.lost().is_some() {
            ownership.withhold(Some("the slot is another process's"));
            return std::future::pending().await;
        }
        if Instant::now() < over_at {
            ownership.withhold(None);
            tokio::select! {
                () = sleep_until(over_at) => {}
                () = changes.changed() => {}
            }
        } else {
            ownership.withhold(Some("the lease is over"));
            changes.changed().await;
        }
    }
}
