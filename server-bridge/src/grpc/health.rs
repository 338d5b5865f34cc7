//! The service `grpc.health.v1`: SERVING while the store takes writes, for the server as a whole and for its one service
//! (docs/GRPC.md §6).

use std::time::Duration;

use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::proto::SERVICE_NAME;
use crate::store::Store;

/// Looks at the store until `stop` is done; then nothing is served.
pub(super) async fn watch<S: Store>(store: S, reporter: HealthReporter, stop: CancellationToken) {
    let mut tick = interval(EVERY);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let pinged = stop
            .run_until_cancelled(timeout(ANSWER, store.ping()))
            .await;
        let serves = match pinged {
            Some(pinged) => matches!(pinged, Ok(Ok(()))),
            None => break,
        };
        tell(&reporter, serves).await;
    }
    tell(&reporter, false).await;
}

/// What is said from now on.
pub(super) async fn tell(reporter: &HealthReporter, serves: bool) {
    let status = match serves {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    for service in ["", SERVICE_NAME] {
        reporter.set_service_status(service, status).await;
    }
}

// A ping commits a write: seldom enough to cost nothing, and a failure is told before a balancer's second look.
const EVERY: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(5);
