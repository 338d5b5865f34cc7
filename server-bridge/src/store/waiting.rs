//! What waits on its way from being stored to being applied, counted by hop, with ages.
//!
//! A bundle waits at one hop at a time. A consumer of which nothing at all is heard after it was sent something (silent) is
//! told apart from one that reports on other things (unanswered): the first is away, the second has a problem with one
//! bundle.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Where a bundle waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// The broker has not acknowledged the newest version, or the deletion.
    Unsent,
    /// The broker took the newest version, and nothing at all has been heard of its consumer since.
    Silent,
    /// The broker took it, and its agent, which talks, has not reported on this version or confirmed the deletion.
    Unanswered,
    /// The agent has reported on this version, and not that it is applied, or not any more.
    Unapplied,
    /// The agent says that this version is applied, and not that it is available.
    Unavailable,
}

/// What waits at one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Bundles.
    pub bundles: u64,
    /// Consumers they are for.
    pub consumers: u64,
    /// Since when the oldest waits: for the broker since its last change, whatever was sent of it before.
    pub oldest: Option<Timestamp>,
}

/// A bundle that waits for the broker, to be known again at the next look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsentHead {
    /// Its row.
    pub key: i64,
    /// Whose it is.
    pub consumer: String,
    /// Its version.
    pub version: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// When the broker acknowledged this very version or deletion, before it was put into the outbox once more.
    pub acked_at: Option<Timestamp>,
}

/// Consumers that were not heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unheard {
    /// Those heard longer ago than each of [`UNHEARD`].
    pub longer: [u64; UNHEARD.len()],
    /// Those that were never heard.
    pub never: u64,
}

/// How long the bundles of one consumer wait at one hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Longest {
    /// The consumer.
    pub consumer: String,
    /// The hop.
    pub hop: Hop,
    /// How many of its bundles.
    pub bundles: u64,
    /// Since when the oldest.
    pub since: Timestamp,
}

/// A look at everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Registered consumers.
    pub consumers: u64,
    /// Bundles, those being deleted too.
    pub bundles: u64,
    /// By hop; a hop at which nothing waits is absent.
    pub hops: HashMap<Hop, Waits>,
    /// [`HEADS`] of the bundles that wait for the broker: first those that were asked for, then those that the broker
    /// never acknowledged, then those that it acknowledged longest ago.
    pub unsent: Vec<UnsentHead>,
    /// At each hop the [`NAMED`] that wait longest.
    pub longest: Vec<Longest>,
    /// Who was not heard of, asked or not.
    pub unheard: Unheard,
}

// === impl Hop ===

impl Hop {
    /// Every hop, in the order of the way.
    pub const ALL: [Self; 5] = [
        Self::Unsent,
        Self::Silent,
        Self::Unanswered,
        Self::Unapplied,
        Self::Unavailable,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Silent => "silent",
            Self::Unanswered => "unanswered",
            Self::Unapplied => "unapplied",
            Self::Unavailable => "unavailable",
        }
    }
}

// === impl Waiting ===

impl Waiting {
    /// What waits at a hop.
    pub fn at(&self, hop: Hop) -> Waits {
        self.hops.get(&hop).copied().unwrap_or_default()
    }
}

/// How long consumers are counted as unheard of, each with its metric label. Notes of who was heard come a minute late.
pub const UNHEARD: [(&str, SignedDuration); 3] = [
    ("10m", SignedDuration::from_mins(10)),
    ("1h", SignedDuration::from_hours(1)),
    ("1d", SignedDuration::from_hours(24)),
];

/// As many heads of the outbox as are remembered from one look to the next.
pub const HEADS: usize = 256;

/// As many consumers as are told by name at each hop.
pub const NAMED: usize = 10;

/// How long an agent that is there may take until anything is heard of it. One that lives answers a new version at once
/// that it has it, before it applies it.
pub const ANSWERED_WITHIN: SignedDuration = SignedDuration::from_secs(20);
