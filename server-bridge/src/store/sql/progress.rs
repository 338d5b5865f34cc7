//! How far bundles have come, as SQL. The engines differ in a few words, which they give to [`statements`]; what the columns
//! `told_*` hold is [`crate::store::progress`].
//!
//! Everything is about a row `t` of `bundles`.

use std::collections::HashMap;

use super::rows::{self, Cells, corrupt};
use crate::store::StoreError;
use crate::store::progress::{ConditionStatus, Load, Progress, UnparsedStatus, WaitingFor};

/// How far a bundle has come, from a row of an engine's `PROGRESS`.
pub(in crate::store) fn progress(row: &impl Cells) -> Result<Progress, StoreError> {
    let key = row.integer("key")?.to_string();
    let version = match row.optional_integer("status_version")? {
        None => None,
        Some(_) => Some(rows::version(row, "status_version", &key)?),
    };
    Ok(Progress {
        applied: condition_status(row, "applied")?,
        available: condition_status(row, "available")?,
        status_version: version,
        status_at: rows::optional_time(row, "status_at", &key)?,
        waiting_for: waits_for(row)?,
        waiting_since: rows::optional_time(row, "waiting_since", &key)?,
    })
}

fn condition_status(
    row: &impl Cells,
    column: &'static str,
) -> Result<Option<ConditionStatus>, StoreError> {
    Ok(row
        .optional_text(column)?
        .and_then(|text| ConditionStatus::parse(&text)))
}

fn waits_for(row: &impl Cells) -> Result<Option<WaitingFor>, StoreError> {
    Ok(row
        .optional_text("waiting_for")?
        .and_then(|text| WaitingFor::parse(&text)))
}

/// What waits of each consumer, from rows of an engine's `LOADS`.
pub(in crate::store) fn loads<R: Cells>(rows: &[R]) -> Result<HashMap<String, Load>, StoreError> {
    let mut loads: HashMap<String, Load> = HashMap::new();
    for row in rows {
        let consumer = row.text("consumer")?;
        let bundles = row.integer("bundles")?.unsigned_abs();
        let since = rows::optional_time(row, "oldest", &consumer)?;
        let load = loads.entry(consumer).or_default();
        load.add(waits_for(row)?, bundles, since);
    }
    Ok(loads)
}

/// A status that nobody has looked into, from a row of an engine's `UNREAD`.
pub(in crate::store) fn unparsed(row: &impl Cells) -> Result<UnparsedStatus, StoreError> {
    let key = row.integer("key")?;
    let payload = rows::json(row, "payload")?;
    Ok(UnparsedStatus {
        key,
        sequence: row.text("status_sequence")?,
        ours: row.flag("ours")?,
        version: row.integer("status_version")?,
        payload: payload
            .ok_or_else(|| corrupt("statuses.payload", &key.to_string(), "there is none"))?,
    })
}

/// How far the work is by what is kept of a status: 0 not applied, 1 applied and not available, 2 both.
macro_rules! stage {
    () => {
        "CASE WHEN told_applied IS NULL OR told_applied <> 'True' THEN 0 \
         WHEN told_available IS NULL OR told_available <> 'True' THEN 1 ELSE 2 END"
    };
}
pub(in crate::store) use stage;

/// Whether the latest status of a row `t` of `bundles` is of its present version. The engines differ in where the version of a
/// status is.
macro_rules! of_present {
    ($version:expr) => {
        concat!("COALESCE(", $version, ", -1) = t.version")
    };
}
pub(in crate::store) use of_present;

/// Whether the latest status was looked into.
macro_rules! is_read {
    () => {
        "(t.told_sequence IS NOT NULL AND t.told_sequence = t.status_sequence)"
    };
}
pub(in crate::store) use is_read;

/// What a condition says of the present version.
macro_rules! condition {
    ($version:expr, $column:literal) => {
        concat!(
            "CASE WHEN ",
            $crate::store::sql::progress::of_present!($version),
            " AND ",
            $crate::store::sql::progress::is_read!(),
            " THEN t.",
            $column,
            " END"
        )
    };
}
pub(in crate::store) use condition;

/// One of four things for each step, and NULL where nothing is waited for or nobody has looked yet.
macro_rules! by_step {
    ($version:expr, $deletion:expr, $send:expr, $apply:expr, $available:expr) => {
        concat!(
            "CASE WHEN t.deleted_at IS NOT NULL THEN ",
            $deletion,
            " WHEN t.unsent THEN ",
            $send,
            " WHEN NOT ",
            $crate::store::sql::progress::of_present!($version),
            " THEN ",
            $apply,
            " WHEN NOT ",
            $crate::store::sql::progress::is_read!(),
            " THEN NULL WHEN t.told_applied IS NULL OR t.told_applied <> 'True' THEN ",
            $apply,
            " WHEN t.told_available IS NULL OR t.told_available <> 'True' THEN ",
            $available,
            " END"
        )
    };
}
pub(in crate::store) use by_step;

/// What a bundle waits for.
macro_rules! waiting_for {
    ($version:expr) => {
        $crate::store::sql::progress::by_step!(
            $version,
            "'deletion'",
            "'send'",
            "'apply'",
            "'available'"
        )
    };
}
pub(in crate::store) use waiting_for;

/// Since when. For the broker since the last change, or since the broker took this very version before it was put into the
/// outbox once more; for being applied since the broker took it, or since the agent first said that it is not applied any
/// more; for being available since the agent first said the one and not the other. `$later` is the engine's function that
/// gives the later of two times.
macro_rules! waiting_since {
    ($version:expr, $later:literal) => {
        $crate::store::sql::progress::by_step!(
            $version,
            "t.deleted_at",
            concat!(
                "COALESCE((SELECT ",
                $later,
                "(t.updated_at, COALESCE(l.acked_at, t.updated_at)) FROM ledger l WHERE l.bundle_key = t.key \
                 AND l.version = t.version AND NOT l.deletion), t.updated_at)"
            ),
            concat!(
                "COALESCE((SELECT CASE WHEN l.applied_at IS NOT NULL AND ",
                $crate::store::sql::progress::of_present!($version),
                " AND ",
                $crate::store::sql::progress::is_read!(),
                " THEN t.told_since ELSE ",
                $later,
                "(t.updated_at, COALESCE(l.acked_at, t.updated_at)) END FROM ledger l WHERE l.bundle_key = t.key \
                 AND l.version = t.version AND NOT l.deletion), t.updated_at)"
            ),
            "t.told_since"
        )
    };
}
pub(in crate::store) use waiting_since;

/// What an engine says with its own words: where version and time of the last status are, the function that gives the later
/// of two times, what comes behind a text that is made, how a list of keys or names is a parameter, and what keeps rows that
/// are about to be written.
macro_rules! statements {
    ($version:literal, $at:literal, $later:literal, $text:literal, $among:literal, $first:literal, $keep:literal) => {
        use $crate::store::progress::Derived;
        use $crate::store::sql::progress as shared;

        /// What a search compares and orders by.
        pub(super) const fn derived(column: Derived) -> &'static str {
            match column {
                Derived::Applied => concat!("(", shared::condition!($version, "told_applied"), ")", $text),
                Derived::Available => {
                    concat!("(", shared::condition!($version, "told_available"), ")", $text)
                }
                Derived::StatusVersion => $version,
                Derived::StatusAt => $at,
                Derived::WaitingFor => concat!("(", shared::waiting_for!($version), ")", $text),
                Derived::WaitingSince => concat!("(", shared::waiting_since!($version, $later), ")"),
            }
        }

        /// How far the bundles of these rows have come.
        const PROGRESS: &str = concat!(
            "SELECT t.key, ",
            shared::condition!($version, "told_applied"),
            " AS applied, ",
            shared::condition!($version, "told_available"),
            " AS available, ",
            $version,
            " AS status_version, ",
            $at,
            " AS status_at, ",
            shared::waiting_for!($version),
            " AS waiting_for, ",
            shared::waiting_since!($version, $later),
            " AS waiting_since FROM bundles t WHERE t.key ",
            $among
        );

        /// What waits of these consumers, one row for each and what it waits for.
        const LOADS: &str = concat!(
            "SELECT t.consumer_name AS consumer, ",
            shared::waiting_for!($version),
            " AS waiting_for, COUNT(*) AS bundles, MIN(",
            shared::waiting_since!($version, $later),
            ") AS oldest FROM bundles t WHERE t.consumer_name ",
            $among,
            " GROUP BY 1, 2"
        );

        /// Statuses that nobody has looked into, of rows behind one and in their order.
        const UNREAD: &str = concat!(
            "SELECT t.key, t.status_sequence, ",
            $version,
            " AS status_version, s.payload, EXISTS (SELECT 1 FROM ledger l WHERE l.bundle_key = t.key AND l.version = ",
            $version,
            " AND NOT l.deletion AND l.attempts > 0) AS ours \
             FROM bundles t JOIN statuses s ON s.bundle_key = t.key WHERE t.key > ",
            $first,
            " AND t.status_sequence IS NOT NULL AND (t.told_sequence IS NULL OR t.told_sequence <> t.status_sequence) \
             ORDER BY t.key LIMIT 64",
            $keep
        );
    };
}
pub(in crate::store) use statements;
