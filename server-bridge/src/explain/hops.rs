//! The way of a version by the ledger, and the versions before it in a line each.

use jiff::Timestamp;

use super::quarantine::{Cause, next_try};
use super::story::{Attempts, EarlierVersion, HopShown};
use super::words::{
    ACKNOWLEDGED, APPLIED, AVAILABLE, DELETED, PUBLISHED, RECEIVED, REPORTED, STORED,
};
use crate::store::LedgerEntry;

/// Every hop of the version or deletion of `entry`, those that are still to come with no time.
pub(super) fn shown(entry: &LedgerEntry, available_at: Option<Timestamp>) -> Vec<HopShown> {
    let unmatched = entry
        .acked_at
        .and(entry.matched)
        .filter(|matched| !matched)
        .map(|_| "nobody was subscribed".to_owned());
    let stored = entry.note.clone();
    let published =
        (entry.attempts > 1).then(|| format!("{} times, last at this time", entry.attempts));
    let mut hops = vec![
        (STORED, Some(entry.stored_at), stored),
        (PUBLISHED, entry.published_at, published),
        (ACKNOWLEDGED, entry.acked_at, unmatched),
    ];
    if entry.deletion {
        hops.push((DELETED, None, None));
    } else {
        hops.extend([
            (RECEIVED, entry.received_at, None),
            (APPLIED, entry.applied_at, None),
            (REPORTED, entry.reported_at, None),
            (AVAILABLE, available_at, None),
        ]);
    }
    let mut last: Option<Timestamp> = None;
    let hops = hops.into_iter().map(|(hop, at, note)| {
        let took = at.zip(last).map(|(at, last)| at.duration_since(last));
        last = at.or(last);
        HopShown {
            hop: hop.into(),
            version: entry.version.get(),
            at,
            // A clock that is behind, or a hop that was passed once more: there is nothing to say.
            took_seconds: took
                .map(|took| took.as_millis_f64() / 1_000.0)
                .filter(|took| *took >= 0.0),
            note,
        }
    });
    hops.collect()
}

/// The versions before `entry`, newest first.
pub(super) fn earlier(ledger: &[LedgerEntry], entry: &LedgerEntry) -> Vec<EarlierVersion> {
    let before = ledger
        .iter()
        .rev()
        .filter(|other| (other.version, other.deletion) < (entry.version, entry.deletion));
    before
        .map(|other| EarlierVersion {
            version: other.version.get(),
            stored_at: other.stored_at,
            reached: reached(other).into(),
            note: other.note.clone(),
        })
        .collect()
}

/// What came of handing it to the broker; nothing while it was not.
pub(super) fn attempts(entry: &LedgerEntry, unsent: bool, now: Timestamp) -> Option<Attempts> {
    if entry.attempts == 0 && entry.failure.is_none() {
        return None;
    }
    let failed = entry.failure.as_deref().filter(|_| unsent);
    let next_at = failed.and_then(|failure| next_try(entry, Cause::of(failure), failure));
    Some(Attempts {
        count: entry.attempts,
        failed_at: entry.failed_at.filter(|_| entry.failure.is_some()),
        failure: entry.failure.clone(),
        quarantined: next_at.is_some_and(|next| next > now),
        next_at,
    })
}

fn reached(entry: &LedgerEntry) -> &'static str {
    let passed = [
        (entry.reported_at, REPORTED),
        (entry.applied_at, APPLIED),
        (entry.received_at, RECEIVED),
        (entry.acked_at, ACKNOWLEDGED),
        (entry.published_at, PUBLISHED),
    ];
    let applied = entry.applied_at.map(|_| APPLIED);
    let last = passed.into_iter().find_map(|(at, hop)| at.map(|_| hop));
    applied.or(last).unwrap_or(STORED)
}
