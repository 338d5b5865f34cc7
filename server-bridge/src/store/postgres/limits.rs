//! Time-outs, intervals and the length of queues.

use std::time::Duration;

/// How long things may take, and how many may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The server stops a statement after this.
    pub statement: Duration,
    /// The same for the removal of a consumer with all its bundles, and for all of it.
    pub removal: Duration,
    /// The server stops waiting for a lock after this.
    pub lock: Duration,
    /// The server ends a session that is idle in a transaction for this long.
    pub idle_in_transaction: Duration,
    /// How long a list may look for its rows.
    pub search: Duration,
    /// How long to wait for a connection, free or new.
    pub acquire: Duration,
    /// How many operations may wait for each connection that they may use; the next one is turned away at once.
    pub waiting: usize,
    /// An answer that took longer is not waited for: the connection is given up.
    pub answer: Duration,
    /// How long the first connection is tried for while the server starts or has no connection left.
    pub patience: Duration,
    /// How long to wait for another process that changes or copies the tables, or keeps them from being changed.
    pub turn: Duration,
    /// How long a command that needs the tables for itself waits for bridges that have just stopped to be gone.
    pub ending: Duration,
    /// How often files are looked at.
    pub look: Duration,
    /// How often idle connections are tried.
    pub ping: Duration,
    /// A connection older than this is replaced, and with it the user and password it was made with.
    pub lifetime: Duration,
    /// Notifications to other replicas are at least this far apart.
    pub notify_interval: Duration,
    /// How often the listener's connection is tried: nothing else would tell that it is dead.
    pub listener_ping: Duration,
    /// How long it may take to answer.
    pub listener_answer: Duration,
    /// A token that stands for a password is made anew after this.
    pub token_renewal: Duration,
    /// The server takes it for this long.
    pub token_life: Duration,
}

/// How long one operation may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The server stops a statement of it after this.
    pub(super) statement: Duration,
    /// Its end is not waited for longer than this.
    pub(super) answer: Duration,
}

// === impl Limits ===

impl Limits {
    /// What most operations may take.
    pub(super) fn of_most(&self) -> Span {
        Span {
            statement: self.statement,
            answer: self.answer,
        }
    }

    /// What the removal of a consumer may take.
    pub(super) fn of_removal(&self) -> Span {
        Span {
            statement: self.removal,
            answer: self.removal + self.answer.saturating_sub(self.statement),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Every statement of ours takes milliseconds, behind a lock or a stall of the disk seconds.
            statement: Duration::from_secs(10),
            // 5 000 bundles of 100 KB take seconds at a small server.
            removal: Duration::from_secs(120),
            lock: Duration::from_secs(5),
            idle_in_transaction: Duration::from_secs(10),
            // The slowest search the grammar allows takes a tenth of that on 10 000 bundles.
            search: Duration::from_secs(5),
            acquire: Duration::from_secs(5),
            waiting: WAITING,
            // Later than the server's own time-outs: only a server that is gone lets it pass.
            answer: Duration::from_secs(12),
            patience: Duration::from_secs(30),
            // A change of a large table, or a short dump; what starts a process that failed tries again.
            turn: Duration::from_secs(120),
            // The server's process ends within milliseconds; on a machine that is busy with other things later.
            ending: Duration::from_secs(10),
            // The CSI driver looks every two minutes; a rotation is in use at the server at once.
            look: Duration::from_secs(2),
            // A failover takes half a minute; a connection nobody closed is noticed well before it is over.
            ping: Duration::from_secs(5),
            lifetime: Duration::from_secs(30 * 60),
            // Twenty commits a second take the lock of all notifying commits of the server, whatever the load.
            notify_interval: Duration::from_millis(50),
            listener_ping: Duration::from_secs(10),
            listener_answer: Duration::from_secs(5),
            token_renewal: Duration::from_secs(10 * 60),
            token_life: Duration::from_secs(15 * 60),
        }
    }
}

/// How long a connection may take to answer that it works.
pub(super) const PING_ANSWER: Duration = Duration::from_secs(2);

// A write of a large bundle takes about 30 ms at a small server. Within the 5 s that it waits for a connection, one
// connection serves 5 000 / 30 = 166 of them; whoever stood behind more than 128 would mostly wait for nothing.
const WAITING: usize = 128;
