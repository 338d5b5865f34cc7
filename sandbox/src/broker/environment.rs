//! What all parts of one broker share: its limits, quotas, switchable faults and counters.

use super::counters::Counters;
use super::faults::Faults;
use super::limits::{Limits, Quotas};

/// Shared by all connections and sessions of a broker.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) limits: Limits,
    pub(super) quotas: Quotas,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
}
