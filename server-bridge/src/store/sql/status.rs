//! Statuses and what remains of deleted bundles, as both engines read and write them.

use super::rows::{Cells, consumer_name, optional_time, sequence, time, version};
use crate::store::decide::{KnownBundle, KnownTombstone, UpdateContext};
use crate::store::{StoreError, Tombstone};

/// What is known of a bundle when a status of it comes, from columns of `bundles` with `status_version` and
/// `status_taken_at`; and its key.
pub(in crate::store) fn known_bundle(
    row: &impl Cells,
    id: &str,
) -> Result<(i64, KnownBundle), StoreError> {
    let known = KnownBundle {
        consumer: consumer_name(row, "consumer_name", id)?,
        version: version(row, "version", id)?,
        deleting: optional_time(row, "deleted_at", id)?.is_some(),
        created_at: time(row, "created_at", id)?,
        sequence: sequence(row, id)?,
        described: row.optional_integer("status_version")?,
        taken_at: optional_time(row, "status_taken_at", id)?,
    };
    Ok((row.integer("key")?, known))
}

/// What is known of a bundle when a caller changes it, from columns of `bundles` with `same`, `known` and `epoch_id`.
pub(in crate::store) fn update_context(
    row: &impl Cells,
    id: &str,
) -> Result<UpdateContext, StoreError> {
    Ok(UpdateContext {
        latest: version(row, "version", id)?,
        deleting: row.optional_integer("deleted_at")?.is_some(),
        same: row.flag("same")?,
        known: row.flag("known")?,
        epoch: row.text("epoch_id")?,
    })
}

/// What is remembered of a bundle, and whether it `counts`.
pub(in crate::store) fn remembered(
    row: &impl Cells,
    id: &str,
) -> Result<KnownTombstone, StoreError> {
    Ok(KnownTombstone {
        sequence: sequence(row, id)?,
        removed_at: time(row, "removed_at", id)?,
        counts: row.flag("counts")?,
    })
}

pub(in crate::store) fn tombstone(row: &impl Cells) -> Result<Tombstone, StoreError> {
    let bundle_id = row.text("bundle_id")?;
    Ok(Tombstone {
        consumer: consumer_name(row, "consumer_name", &bundle_id)?,
        version: version(row, "version", &bundle_id)?,
        removed_at: time(row, "removed_at", &bundle_id)?,
        bundle_id,
    })
}

/// The newest tombstone of a bundle.
pub(in crate::store) const TOMBSTONE: &str = "SELECT bundle_id, consumer_name, version, removed_at FROM tombstones \
     WHERE bundle_id = $1 ORDER BY removed_at DESC LIMIT 1";

/// Makes a tombstone as new as the status that repeats the deletion.
pub(in crate::store) const RENEW_TOMBSTONE: &str = "UPDATE tombstones SET status_sequence = $3, removed_at = $4 \
     WHERE bundle_id = $1 AND consumer_name = $2";

/// Writes a tombstone, in the place of that of an earlier bundle of the same id.
pub(in crate::store) const ADD_TOMBSTONE: &str = "INSERT INTO tombstones (bundle_id, consumer_name, version, status_sequence, \
     removed_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (bundle_id, consumer_name) DO UPDATE SET \
     version = excluded.version, status_sequence = excluded.status_sequence, removed_at = excluded.removed_at";
