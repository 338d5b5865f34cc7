//! A lane's duties towards other replicas: it ends before its bucket's lease does, and reports when it was late.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::replicas::Ownership;
use crate::store::StoreError;

/// Returns when a lane that is stopped waits for nothing any more. Among replicas that is a moment later: what is in flight
/// and not noted the next owner would send again. But when the lease is over, that is at once: what is not on its way yet
/// must not leave any more.
pub(super) async fn out_of_time(stop: &CancellationToken, ownership: &Ownership) {
    let stopped = async {
        stop.cancelled().await;
        if ownership.is_shared() {
            sleep(FINISH).await;
        }
    };
    tokio::select! {
        () = stopped => {}
        () = ownership.over() => {}
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

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::time::Instant;

    use super::*;
    use crate::replicas::ReplicaMetrics;
    use crate::store::Instance;

    #[tokio::test(start_paused = true)]
    async fn what_is_in_flight_is_waited_for_among_replicas_but_not_for_ever() {
        let stop = CancellationToken::new();
        stop.cancel();
        let began = Instant::now();
        out_of_time(&stop, &Ownership::sole()).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let metrics = ReplicaMetrics::register(&Registry::new()).unwrap();
        let shared = Ownership::replica(Instance::random(), metrics);
        out_of_time(&stop, &shared).await;
        assert_eq!(began.elapsed(), FINISH);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_past_the_lease_unless_it_was_renewed() {
        let metrics = ReplicaMetrics::register(&Registry::new()).unwrap();
        let shared = Ownership::replica(Instance::random(), metrics);
        let began = Instant::now();
        shared.renewed(began + Duration::from_secs(2));
        let renewing = async {
            sleep(Duration::from_secs(1)).await;
            shared.renewed(began + Duration::from_secs(3));
        };
        let running = CancellationToken::new();
        tokio::join!(out_of_time(&running, &shared), renewing);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        // The renewer has noticed before this lane has.
        shared.not_renewed();
        out_of_time(&running, &shared).await;
        assert_eq!(began.elapsed(), Duration::from_secs(3));
    }
}
