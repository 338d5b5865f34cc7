//! What waits on its way, as both engines look for it: the statements, which differ in a few words, and what their rows tell.

use std::collections::HashMap;

use jiff::Timestamp;

use super::rows::{Cells, optional_time, time};
use crate::store::StoreError;
use crate::store::waiting::{
    ANSWERED_WITHIN, Hop, Longest, NAMED, UNHEARD, Unheard, UnsentHead, Waiting, Waits,
};

/// What waits, from the rows of [`statement`], of [`unsent`], and the one of [`totals`].
pub(in crate::store) fn waiting<R: Cells>(
    rows: &[R],
    unsent: &[R],
    totals: &R,
) -> Result<Waiting, StoreError> {
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
    Ok(Waiting {
        consumers: totals.integer("consumers")?.unsigned_abs(),
        bundles: totals.integer("bundles")?.unsigned_abs(),
        hops,
        unsent: unsent.iter().map(head).collect::<Result<_, _>>()?,
        longest,
        unheard: unheard(totals)?,
    })
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
    let since = time(row, "oldest", &consumer)?;
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
        changed_at: time(row, "changed_at", &key.to_string())?,
        acked_at: optional_time(row, "acked_at", &key.to_string())?,
    })
}

/// The parameter of [`statement`]: what was sent after it is not waited for yet.
pub(in crate::store) fn asked_before(now: Timestamp) -> i64 {
    (now - ANSWERED_WITHIN).as_microsecond()
}

/// The parameters of [`totals`].
pub(in crate::store) fn heard_before(now: Timestamp) -> [i64; UNHEARD.len()] {
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
pub(in crate::store) use statement;

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
pub(in crate::store) use unsent;

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
pub(in crate::store) use totals;
