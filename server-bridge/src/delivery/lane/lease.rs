//! What a lane owes the other replicas: to end in time, and to say when it was late.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::replicas::Ownership;
use crate::store::StoreError;

/// Returns when a lane that is stopped waits for nothing any more. Among replicas that is a moment later: what is in flight
/// and not noted the next owner would send again.
pub(super) async fn out_of_time(stop: &CancellationToken, ownership: &Ownership) {
    stop.cancelled().await;
    if ownership.is_shared() {
        sleep(FINISH).await;
    }
}

/// Passes on what became of a note; that it was refused is counted, and what is owned looked at.
pub(super) fn counted<T>(
    ownership: &Ownership,
    noted: Result<T, StoreError>,
) -> Result<T, StoreError> {
    if matches!(noted, Err(StoreError::Fenced { .. })) {
        ownership.refused();
    }
    noted
}

/// Well within a lease.
const FINISH: Duration = Duration::from_secs(5);
