//! What a watch tells reconcile: works that have to be looked at because somebody else changed something of theirs.

use crate::work_id::WorkId;

/// Something that somebody else changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These works have to be reconciled again.
    Works(Vec<WorkId>),
    /// The watch lost its position (it expired): every work has to be reconciled.
    Everything,
}
