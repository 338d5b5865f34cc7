//! What waits on its way from being declared to being applied, and for how long: counted by hop, so that a person who is
//! called knows where to look.
//!
//! A bundle waits at one hop at a time. A cluster that takes what it is sent and says nothing at all is told apart from one
//! that talks: the first is away, the second has a problem with one bundle.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::StoreError;
use super::sql::rows::Cells;

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
    /// From the rows of [`statement`], of [`unsent`], and the one of [`TOTALS`].
    pub(super) fn of<R: Cells>(rows: &[R], unsent: &[R], totals: &R) -> Result<Self, StoreError> {
        let mut longest = rows.iter().map(group).collect::<Result<Vec<_>, _>>()?;
        let mut hops: HashMap<Hop, Waits> = HashMap::new();
        for one in &longest {
            let waits = hops.entry(one.hop).or_default();
            waits.bundles += one.bundles;
            waits.consumers += 1;
            waits.oldest = Some(waits.oldest.map_or(one.since, |since| since.min(one.since)));
        }
        longest.sort_by_key(|one| one.since);
        let mut named: HashMap<Hop, usize> = HashMap::new();
        longest.retain(|one| {
            let named = named.entry(one.hop).or_default();
            *named += 1;
            *named <= NAMED
        });
        Ok(Self {
            consumers: totals.integer("consumers")?.unsigned_abs(),
            bundles: totals.integer("bundles")?.unsigned_abs(),
            hops,
            unsent: unsent.iter().map(head).collect::<Result<_, _>>()?,
            longest,
            unheard: unheard(totals)?,
        })
    }

    /// What waits at a hop.
    pub fn at(&self, hop: Hop) -> Waits {
        self.hops.get(&hop).copied().unwrap_or_default()
    }
}

fn group<R: Cells>(row: &R) -> Result<Longest, StoreError> {
    let consumer = row.text("consumer")?;
    let hop = match row.text("hop")?.as_str() {
        "unsent" => Hop::Unsent,
        "unanswered" if is_silent(row)? => Hop::Silent,
        "unanswered" => Hop::Unanswered,
        "unavailable" => Hop::Unavailable,
        _ => Hop::Unapplied,
    };
    let since = time(row.integer("oldest")?, &consumer)?;
    Ok(Longest {
        hop,
        bundles: row.integer("bundles")?.unsigned_abs(),
        since,
        consumer,
    })
}

/// Whether the consumer was asked something that it had time to answer, and was not heard since.
fn is_silent<R: Cells>(row: &R) -> Result<bool, StoreError> {
    let Some(asked) = row.optional_integer("asked")? else {
        return Ok(false);
    };
    let seen = row.optional_integer("seen")?.unwrap_or_default();
    let reported = row.optional_integer("reported")?.unwrap_or_default();
    Ok(asked > seen.max(reported))
}

fn unheard<R: Cells>(row: &R) -> Result<Unheard, StoreError> {
    let count = |column| Ok::<_, StoreError>(row.integer(column)?.unsigned_abs());
    Ok(Unheard {
        longer: [
            count("unheard_0")?,
            count("unheard_1")?,
            count("unheard_2")?,
        ],
        never: count("unheard_ever")?,
    })
}

fn head<R: Cells>(row: &R) -> Result<UnsentHead, StoreError> {
    let key = row.integer("key")?;
    Ok(UnsentHead {
        key,
        consumer: row.text("consumer")?,
        version: row.integer("version")?,
        deleting: row.flag("deleting")?,
        changed_at: time(row.integer("changed_at")?, &key.to_string())?,
        acked_at: row
            .optional_integer("acked_at")?
            .map(|micros| time(micros, &key.to_string()))
            .transpose()?,
    })
}

fn time(micros: i64, key: &str) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| StoreError::Corrupt {
        object: "bundles.updated_at",
        key: key.to_owned(),
        problem: error.to_string(),
    })
}

/// The parameter of [`statement`]: what was sent after it is not waited for yet.
pub(super) fn asked_before(now: Timestamp) -> i64 {
    (now - ANSWERED_WITHIN).as_microsecond()
}

/// The parameters of [`TOTALS`].
pub(super) fn heard_before(now: Timestamp) -> [i64; UNHEARD.len()] {
    UNHEARD.map(|(_, longer)| (now - longer).as_microsecond())
}

/// One row for each consumer and hop at which a bundle of it waits. Few versions were never applied, so that the ledger leads
/// to them and nothing is looked up for the others; of those that were applied once, what is kept of the latest status says how
/// they are. The engines differ in where the version of the last
/// status is, in when it was taken, and in how a parameter is written.
macro_rules! statement {
    ($status_version:literal, $reported:literal, $before:literal) => {
        concat!(
            "SELECT w.consumer_name AS consumer, w.hop AS hop, COUNT(*) AS bundles, MIN(w.since) AS oldest, \
             MAX(CASE WHEN w.hop = 'unanswered' AND NOT w.deleting AND w.acked_at <= ",
            $before,
            " THEN w.acked_at END) AS asked, MAX(c.last_seen_at) AS seen, ",
            $reported,
            " AS reported FROM (SELECT b.consumer_name, b.deleted_at IS NOT NULL AS deleting, \
               CAST(NULL AS bigint) AS acked_at, 'unsent' AS hop, COALESCE(b.deleted_at, b.updated_at) AS since \
               FROM bundles b WHERE b.unsent \
             UNION ALL SELECT b.consumer_name, b.deleted_at IS NOT NULL, l.acked_at, \
               CASE WHEN b.deleted_at IS NOT NULL OR COALESCE(",
            $status_version,
            ", 0) <> b.version THEN 'unanswered' ELSE 'unapplied' END, \
               CASE WHEN b.deleted_at IS NOT NULL THEN b.deleted_at WHEN ",
            $status_version,
            " = b.version AND l.acked_at > b.updated_at THEN l.acked_at ELSE b.updated_at END \
               FROM ledger l JOIN bundles b ON b.key = l.bundle_key AND b.version = l.version \
                 AND l.deletion = (b.deleted_at IS NOT NULL) \
               WHERE (l.deletion OR (l.applied_at IS NULL AND CASE WHEN b.told_applied = 'True' \
                   AND b.told_sequence = b.status_sequence THEN COALESCE(",
            $status_version,
            ", 0) <> b.version ELSE b.key IS NOT NULL END)) AND NOT b.unsent \
             UNION ALL SELECT b.consumer_name, b.deleted_at IS NOT NULL, CAST(NULL AS bigint), \
               CASE WHEN b.told_applied = 'True' THEN 'unavailable' ELSE 'unapplied' END, b.told_since FROM bundles b \
               WHERE NOT b.unsent AND b.deleted_at IS NULL AND b.told_sequence = b.status_sequence \
                 AND (b.told_applied <> 'True' OR b.told_available <> 'True') AND ",
            $status_version,
            " = b.version AND (b.told_applied = 'True' OR (b.told_applied <> 'True' AND EXISTS (SELECT 1 FROM ledger l \
                 WHERE l.bundle_key = b.key AND l.version = b.version AND NOT l.deletion AND l.applied_at IS NOT NULL)))) w \
             JOIN consumers c ON c.name = w.consumer_name GROUP BY w.consumer_name, w.hop"
        )
    };
}
pub(super) use statement;

/// [`HEADS`] of the bundles in the outbox. What is known to wait comes first, so that nothing pushes it out; what is sent
/// and asked for once more again and again comes last, because the broker has just acknowledged it. The engines differ in
/// how a row is told to be known.
macro_rules! unsent {
    ($known:literal) => {
        concat!(
            "SELECT b.key, b.consumer_name AS consumer, b.version, b.deleted_at IS NOT NULL AS deleting, \
             COALESCE(b.deleted_at, b.updated_at) AS changed_at, l.acked_at \
             FROM bundles b LEFT JOIN ledger l ON l.bundle_key = b.key AND l.version = b.version \
               AND l.deletion = (b.deleted_at IS NOT NULL) \
             WHERE b.unsent ORDER BY b.key ",
            $known,
            " DESC, l.acked_at NULLS FIRST, COALESCE(b.deleted_at, b.updated_at) LIMIT 256"
        )
    };
}
pub(super) use unsent;

/// How much there is, and who was not heard of since three times.
macro_rules! totals {
    ($first:literal, $second:literal, $third:literal) => {
        concat!(
            "SELECT (SELECT COUNT(*) FROM bundles) AS bundles, COUNT(*) AS consumers, \
             COUNT(CASE WHEN last_seen_at < ",
            $first,
            " THEN 1 END) AS unheard_0, COUNT(CASE WHEN last_seen_at < ",
            $second,
            " THEN 1 END) AS unheard_1, COUNT(CASE WHEN last_seen_at < ",
            $third,
            " THEN 1 END) AS unheard_2, COUNT(CASE WHEN last_seen_at IS NULL THEN 1 END) AS unheard_ever FROM consumers"
        )
    };
}
pub(super) use totals;

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
