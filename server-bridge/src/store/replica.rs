//! Several bridges on one store: their identities, slots and leases of buckets.
//!
//! Consumers are divided into [`Bucket::COUNT`] buckets. A replica renews a row of its own and owns buckets while that row
//! exists; each acquisition of a bucket increments its term, which is part of the [`Fence`] of its owner's writes. All times
//! are the store's: clocks of replicas are never compared.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use uuid::Uuid;

use super::bucket::Bucket;
use super::{Hint, StoreError};

/// One run of one bridge: random, so that no other ever has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(Arc<str>);

/// A bridge among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Which of the numbered client ids it connects under.
    pub slot: u16,
    /// Which process it is.
    pub instance: Instance,
    /// What people know it by.
    pub name: String,
}

/// What a write is refused without: that this owner has this bucket since this taking still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The bucket of the consumer that is written about.
    pub bucket: Bucket,
    /// How often it was taken until its owner had it.
    pub term: i64,
    /// Its owner.
    pub instance: Instance,
}

/// A bucket as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The bucket.
    pub bucket: Bucket,
    /// Who took it last, who need not be there any more; `None` when it was given back.
    pub owner: Option<Instance>,
    /// How often it was taken.
    pub term: i64,
}

/// All replicas and buckets at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// In the order of their slots. One that is gone is among them until [`LeaseStore::remove_expired`].
    pub replicas: Vec<Replica>,
    /// When each of them expires, in the same order: microseconds by the store's clock, to be compared with one another alone.
    pub expires: Vec<i64>,
    /// Every bucket, in order.
    pub leases: Vec<Lease>,
}

/// Which slots may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// Those that nobody has.
    Unheld,
    /// Where there is none of them, those that have expired too.
    Expired,
}

/// What became of the wish for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It is this replica's until it expires.
    Taken(u16),
    /// All are held.
    Full(Vec<Replica>),
}

/// What became of a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// In time.
    Kept,
    /// Too late, and nobody else has the slot. What nobody took meanwhile is owned as before.
    Late,
    /// Another process has the slot.
    Lost {
        /// What people know it by, if it was there still.
        to: Option<String>,
    },
}

/// What replicas agree on in a store. Each method is one transaction.
pub trait LeaseStore: Clone + Send + Sync + 'static {
    /// Takes one of `slots` slots for a process: the lowest that nobody has, or else, if it may, the one that expired first.
    /// A process that has one already keeps it: an attempt whose answer did not come may have succeeded.
    fn take_slot(
        &self,
        instance: &Instance,
        name: &str,
        slots: u16,
        free: Free,
        ttl: Duration,
    ) -> impl Future<Output = Result<Slot, StoreError>> + Send;

    /// Makes a replica expire `ttl` from now.
    fn renew(
        &self,
        replica: &Replica,
        ttl: Duration,
    ) -> impl Future<Output = Result<Renewal, StoreError>> + Send;

    /// Removes the others that have expired; how many.
    fn remove_expired(
        &self,
        replica: &Replica,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Who is there and who owns what.
    fn roster(&self) -> impl Future<Output = Result<Roster, StoreError>> + Send;

    /// Takes those of `buckets` that nobody owns who is there; each with its new term. None when this replica has expired.
    fn take(
        &self,
        replica: &Replica,
        buckets: Vec<Bucket>,
    ) -> impl Future<Output = Result<Vec<(Bucket, i64)>, StoreError>> + Send;

    /// Gives back those of `buckets` that this replica owns, and tells the others.
    fn give_back(
        &self,
        replica: &Replica,
        buckets: Vec<Bucket>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives everything back, the slot too, and tells the others.
    fn leave(&self, replica: &Replica) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What may need doing, [`Hint::Replicas`] among it. Some may be lost.
    fn hints(&self) -> broadcast::Receiver<Hint>;
}

// === impl Instance ===

impl Instance {
    /// One that nobody else has.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// The text that is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Instance {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}
