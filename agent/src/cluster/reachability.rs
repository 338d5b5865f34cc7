//! Whether the API server can be reached, judged by the requests that are made anyway.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::health::Health;

/// Notes the outcome of every request and reports changes to [`Health`]. Clones share their state.
#[derive(Clone)]
pub(super) struct Reachability {
    health: Health,
    state: Arc<watch::Sender<State>>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// The server answered; whether it agreed is another matter.
    Served,
    /// It answered that something is broken.
    Broken(StatusCode),
    /// It did not answer.
    Silence(String),
}

#[derive(Clone, Copy, Debug)]
struct State {
    failures: u32,
    noted: Instant,
}

// === impl Reachability ===

impl Reachability {
    pub(super) fn new(health: Health) -> Self {
        let state = State {
            failures: 0,
            noted: Instant::now(),
        };
        Self {
            health,
            state: Arc::new(watch::Sender::new(state)),
        }
    }

    pub(super) fn noted(&self, answer: &RequestOutcome) {
        self.state.send_if_modified(|state| {
            let before = state.failures;
            state.noted = Instant::now();
            state.failures = match answer {
                RequestOutcome::Served => 0,
                RequestOutcome::Broken(_) => before.saturating_add(1),
                RequestOutcome::Silence(_) => before.max(TOLERATED - 1).saturating_add(1),
            };
            // Reported under the lock, so that two requests cannot report in the wrong order.
            if state.failures >= TOLERATED && before < TOLERATED {
                self.health.failing(answer.to_string());
            } else if state.failures == 0 && before >= TOLERATED {
                self.health.ok();
            }
            (state.failures == 0) != (before == 0)
        });
    }

    /// Asks `/readyz` whenever something is wrong and nobody has asked anything for a while, so that the check gets
    /// well again by itself. While all is well it does nothing.
    pub(super) async fn probe(self, client: Client) {
        let mut state = self.state.subscribe();
        while state.wait_for(|state| state.failures > 0).await.is_ok() {
            let quiet_since = state.borrow().noted;
            sleep_until(quiet_since + QUIET).await;
            let now = *state.borrow();
            if now.failures > 0
                && now.noted == quiet_since
                && let Ok(request) = http::Request::get("/readyz").body(Vec::new())
            {
                // The outcome is noted like that of every request.
                let _ = client.request_text(request).await;
            }
        }
    }
}

// === impl RequestOutcome ===

impl std::fmt::Display for RequestOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Served => f.write_str("the Kubernetes API server answers"),
            Self::Broken(code) => write!(f, "the Kubernetes API server answers {code}"),
            Self::Silence(why) => write!(f, "the Kubernetes API server does not answer: {why}"),
        }
    }
}

// One 5xx may come from a webhook or an aggregated API that is down; so many in a row come from the server.
const TOLERATED: u32 = 3;

const QUIET: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use tower::service_fn;

    use super::*;

    type Reported = Arc<Mutex<Vec<Result<(), String>>>>;

    fn reachability() -> (Reachability, Reported) {
        let reported = Reported::default();
        let health = Health::new({
            let reported = reported.clone();
            move |state| reported.lock().unwrap().push(state)
        });
        (Reachability::new(health), reported)
    }

    #[tokio::test]
    async fn silence_fails_at_once_and_the_next_answer_heals() {
        let (reachability, reported) = reachability();
        reachability.noted(&RequestOutcome::Served);
        reachability.noted(&RequestOutcome::Silence("connection refused".into()));
        reachability.noted(&RequestOutcome::Silence("connection refused".into()));
        reachability.noted(&RequestOutcome::Served);
        let why = "the Kubernetes API server does not answer: connection refused";
        assert_eq!(*reported.lock().unwrap(), [Err(why.to_owned()), Ok(())]);
    }

    #[tokio::test]
    async fn single_broken_answers_between_good_ones_fail_nothing() {
        let (reachability, reported) = reachability();
        for _ in 0..5 {
            reachability.noted(&RequestOutcome::Broken(StatusCode::INTERNAL_SERVER_ERROR));
            reachability.noted(&RequestOutcome::Served);
        }
        assert!(reported.lock().unwrap().is_empty());
        for _ in 0..TOLERATED {
            reachability.noted(&RequestOutcome::Broken(StatusCode::SERVICE_UNAVAILABLE));
        }
        assert!(reported.lock().unwrap()[0].is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_failing_server_is_probed_until_it_answers_and_a_well_one_never() {
        let (reachability, reported) = reachability();
        let probes = Arc::new(AtomicU32::new(0));
        let service = service_fn({
            let (reachability, probes) = (reachability.clone(), probes.clone());
            move |request: Request<Body>| {
                assert_eq!(request.uri().path(), "/readyz");
                let first = probes.fetch_add(1, Ordering::SeqCst) == 0;
                reachability.noted(&if first {
                    RequestOutcome::Silence("gone".into())
                } else {
                    RequestOutcome::Served
                });
                std::future::ready(Ok::<_, tower::BoxError>(Response::new(Body::empty())))
            }
        });
        let task = tokio::spawn(reachability.clone().probe(Client::new(service, "default")));
        tokio::time::sleep(10 * QUIET).await;
        assert_eq!(probes.load(Ordering::SeqCst), 0);
        reachability.noted(&RequestOutcome::Silence("gone".into()));
        tokio::time::sleep(10 * QUIET).await;
        assert_eq!(probes.load(Ordering::SeqCst), 2);
        assert_eq!(reported.lock().unwrap().last(), Some(&Ok(())));
        task.abort();
    }
}
