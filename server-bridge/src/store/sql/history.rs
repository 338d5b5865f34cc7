//! Epochs and doubts, as both engines read and write them. Parameters are written `$1`, which both take.

use super::rows::{Cells, epoch, moment};
use crate::store::history::{DoubtContext, RaisePlan};
use crate::store::{Epoch, History, Raising, StoreError};

/// The present epoch.
pub(in crate::store) const PRESENT: &str = "SELECT * FROM epochs ORDER BY number DESC LIMIT 1";

/// The last epochs, the present one first.
pub(in crate::store) const LAST: &str = "SELECT * FROM epochs ORDER BY number DESC LIMIT $1";

/// How many bundles are not confirmed in the present epoch, and of how many consumers.
pub(in crate::store) const UNCONFIRMED: &str = "SELECT COUNT(*), COUNT(DISTINCT consumer_name) FROM bundles \
     WHERE epoch <> (SELECT MAX(number) FROM epochs)";

/// Number and place of the present epoch.
pub(in crate::store) const RECORDED: &str =
    "SELECT number, place FROM epochs ORDER BY number DESC LIMIT 1";

/// The place of an epoch.
pub(in crate::store) const PLACE: &str = "SELECT place FROM epochs WHERE number = $1";

/// Begins an epoch, unless it has begun.
pub(in crate::store) const BEGIN: &str = "INSERT INTO epochs (number, id, began_at, why, place, heard) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (number) DO NOTHING";

/// Forgets the oldest epochs of the same cause: what agents say takes no room from what was seen.
pub(in crate::store) const FORGET: &str = "DELETE FROM epochs WHERE heard = $1 AND number <= \
     (SELECT number FROM epochs WHERE heard = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)";

/// Notes that agents of a consumer hold a work that is not known here.
pub(in crate::store) const NOTE_FOREIGN_WORK: &str = "INSERT INTO doubts (consumer_name, stranger_at) VALUES ($1, $2) \
     ON CONFLICT (consumer_name) DO UPDATE SET stranger_at = excluded.stranger_at";

/// Notes that they held none until then.
pub(in crate::store) const FORGET_FOREIGN_WORKS: &str =
    "UPDATE doubts SET stranger_at = NULL WHERE consumer_name = $1 AND stranger_at <= $2";

/// When a consumer was doubted last.
pub(in crate::store) const DOUBTED: &str = "SELECT behind_at FROM doubts WHERE consumer_name = $1";

/// Notes that a consumer is doubted.
pub(in crate::store) const DOUBT: &str = "INSERT INTO doubts (consumer_name, behind_at) VALUES ($1, $2) \
     ON CONFLICT (consumer_name) DO UPDATE SET behind_at = excluded.behind_at";

/// From rows of [`LAST`] and the one of [`UNCONFIRMED`].
pub(in crate::store) fn history<R: Cells>(
    epochs: &[R],
    (bundles, consumers): (i64, i64),
) -> Result<History, StoreError> {
    Ok(History {
        epochs: epochs.iter().map(epoch).collect::<Result<_, _>>()?,
        unconfirmed: bundles.unsigned_abs(),
        unconfirmed_consumers: consumers.unsigned_abs(),
    })
}

/// What is known when bundles of a consumer are found to be behind; `doubted` is the value of [`DOUBTED`].
pub(in crate::store) fn past(
    consumer: &str,
    present: &Epoch,
    doubted: Option<Option<i64>>,
) -> Result<DoubtContext, StoreError> {
    Ok(DoubtContext {
        epoch: present.number,
        began_at: present.began_at,
        doubted_at: moment(doubted.flatten(), consumer)?,
    })
}

/// What came of a plan, with the epoch that began by it.
pub(in crate::store) fn raising(plan: RaisePlan, began: Option<Epoch>) -> Raising {
    Raising {
        bundles: plan.raised,
        doubted: plan.sign.is_some(),
        began,
    }
}
