//! What a store knows of one bundle or one consumer, read at one moment for `explain`; reading it changes nothing and works
//! beside running bridges.
//!
//! The same types for both engines; what an engine does not have is absent.

use std::future::Future;

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;

use super::{Bundle, Consumer, Doubts, Epoch, Load, Presence, StoreError, Tombstone};

/// A bundle, and what of others decides whether it goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct BundleFacts {
    /// All of it, with content, status, ledger and progress.
    pub bundle: Bundle,
    /// Whether its newest version, or its deletion, is still to be taken by the broker.
    pub unsent: bool,
    /// Which bundles of its consumer are to be sent and were changed before it.
    pub ahead: Ahead,
    /// Whether its version was neither made nor confirmed in the present epoch.
    pub unconfirmed: bool,
    /// Its consumer.
    pub lane: LaneFacts,
}

/// How many bundles of a consumer go before one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Those of its source.
    pub of_source: u64,
    /// Those of other sources; `None` where they are not to be told of.
    pub of_others: Option<u64>,
}

/// A consumer's lane: when its agent was heard, and who sends to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneFacts {
    /// The consumer.
    pub consumer: Consumer,
    /// When a status of any of its bundles was taken last.
    pub last_status_at: Option<Timestamp>,
    /// What its agent, or the broker, says of it.
    pub presence: Option<Presence>,
    /// Since when bridges have listened to agents without a gap.
    pub listening_since: Option<Timestamp>,
    /// When a bridge said last that it hears agents: about half a minute before it went; `None` if none ever did.
    pub listened_until: Option<Timestamp>,
    /// Who may send to it; `None` where one process has the store alone.
    pub lease: Option<LeaseFacts>,
}

/// The lease of a consumer's bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    /// The bucket.
    pub bucket: u8,
    /// How often it was taken.
    pub term: i64,
    /// Its owner; `None` where nobody is there who has it.
    pub owner: Option<LaneOwner>,
    /// How many replicas are there and have renewed in time.
    pub replicas: u64,
}

/// Who owns a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneOwner {
    /// What people know it by.
    pub name: String,
    /// Which of the numbered client ids it connects under.
    pub slot: u16,
    /// Until when it owns what it has, unless it renews: by the store's clock.
    pub until: Timestamp,
    /// Whether that is over.
    pub expired: bool,
}

/// A consumer, and where its bundles are.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerFacts {
    /// The consumer and who sends to it.
    pub lane: LaneFacts,
    /// What waits for which step.
    pub load: Load,
    /// Of each step the bundle that has waited longest, with all that is known of it.
    pub oldest: Vec<BundleFacts>,
    /// The present epoch.
    pub epoch: Epoch,
    /// What makes one doubt that the store knows all of it.
    pub doubts: Doubts,
    /// Bundles of it that were raised above a version that its agent held: the newest [`RAISED_SHOWN`].
    pub raised: Vec<RaisedVersion>,
}

/// A version that was made because an agent held a newer one than the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaisedVersion {
    /// The bundle.
    pub id: String,
    /// The version.
    pub version: Version,
    /// When.
    pub at: Timestamp,
    /// What the ledger says of it.
    pub note: String,
}

/// How many raised versions of a consumer are told.
pub const RAISED_SHOWN: i64 = 10;

/// Of how many bundles and consumers the names are looked through for those near to a misspelt one: some 2 MB.
pub(super) const NAMES_LOOKED_AT: i64 = 20_000;

/// Reading what `explain` needs. Each method is one look; what changes meanwhile may be in it or not.
pub trait ExplainStore: Clone + Send + Sync + 'static {
    /// The bundle with this id, or else the one with this name.
    fn bundle_facts(
        &self,
        reference: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<BundleFacts>, StoreError>> + Send;

    /// The id of the bundle with this name, whatever other one has it as its id.
    fn bundle_named(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// The consumer with this name.
    fn consumer_facts(
        &self,
        name: &ConsumerName,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<ConsumerFacts>, StoreError>> + Send;
}

/// Names of what is there, for a search of near ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownNames {
    /// Ids and names of the newest bundles.
    pub bundles: Vec<String>,
    /// Names of consumers.
    pub consumers: Vec<String>,
}

/// Everything that a reference may mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// A bundle of this id or name.
    pub bundle: Option<BundleFacts>,
    /// A consumer of this id or name.
    pub consumer: Option<ConsumerFacts>,
    /// A bundle of this id that is gone.
    pub tombstone: Option<Tombstone>,
    /// Names, where nothing was found.
    pub names: KnownNames,
}

/// Which kind of object a reference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever is there.
    Any,
    /// A bundle.
    Bundle,
    /// A consumer.
    Consumer,
}

// === impl Ahead ===

impl Ahead {
    /// As many as may be told of.
    pub const fn told(self) -> u64 {
        match self.of_others {
            Some(others) => self.of_source.saturating_add(others),
            None => self.of_source,
        }
    }

    /// The same for who may not read the bundles of every source.
    #[must_use]
    pub const fn of_its_source(self) -> Self {
        Self {
            of_others: None,
            ..self
        }
    }
}

// === impl Wanted ===

impl Wanted {
    /// Whether it may be a bundle.
    pub const fn bundle(self) -> bool {
        matches!(self, Self::Any | Self::Bundle)
    }

    /// Whether it may be a consumer.
    pub const fn consumer(self) -> bool {
        matches!(self, Self::Any | Self::Consumer)
    }
}

// === impl Found ===

impl Found {
    /// Whether nothing of this reference is or was there.
    pub const fn is_nothing(&self) -> bool {
        self.bundle.is_none() && self.consumer.is_none() && self.tombstone.is_none()
    }
}
