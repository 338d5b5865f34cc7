//! What every part of one broker stands on: its numbers, its knobs and its counters.

use super::counters::Counters;
use super::faults::Faults;
use super::limits::{Limits, Quotas};

/// Shared by all connections and sessions of a broker.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) limits: Limits,
    pub(super) quotas: Quotas,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
}
