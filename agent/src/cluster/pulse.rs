//! Whether the API server is there, judged by the requests that are made anyway.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::health::Health;

/// Hears the outcome of every request and tells [`Health`] what changes. Clones are one.
#[derive(Clone)]
pub(super) struct Pulse {
    health: Health,
    state: Arc<watch::Sender<State>>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The server answered; whether it agreed is another matter.
    Served,
    /// It answered that something is broken.
    Broken(StatusCode),
    /// It did not answer.
    Silence(String),
}

#[derive(Clone, Copy, Debug)]
struct State {
    strikes: u32,
    heard: Instant,
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn new(health: Health) -> Self {
        let state = State {
            strikes: 0,
            heard: Instant::now(),
        };
        Self {
            health,
            state: Arc::new(watch::Sender::new(state)),
        }
    }

    pub(super) fn heard(&self, answer: &Answer) {
        self.state.send_if_modified(|state| {
            let before = state.strikes;
            state.heard = Instant::now();
            state.strikes = match answer {
                Answer::Served => 0,
                Answer::Broken(_) => before.saturating_add(1),
                Answer::Silence(_) => before.max(STRIKES - 1).saturating_add(1),
            };
            // Told inside, so that two requests cannot tell in the wrong order.
            if state.strikes >= STRIKES && before < STRIKES {
                self.health.failing(answer.to_string());
            } else if state.strikes == 0 && before >= STRIKES {
                self.health.ok();
            }
            (state.strikes == 0) != (before == 0)
        });
    }

    /// Asks `/readyz` whenever something is wrong and nobody has asked anything for a while, so that the check gets
    /// well again by itself. While all is well it does nothing.
    pub(super) async fn probe(self, client: Client) {
        let mut state = self.state.subscribe();
        while state.wait_for(|state| state.strikes > 0).await.is_ok() {
            let quiet_since = state.borrow().heard;
            sleep_until(quiet_since + QUIET).await;
            let now = *state.borrow();
            if now.strikes > 0
                && now.heard == quiet_since
                && let Ok(request) = http::Request::get("/readyz").body(Vec::new())
            {
                // The outcome is heard like that of every request.
                let _ = client.request_text(request).await;
            }
        }
    }
}

// === impl Answer ===

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Served => f.write_str("the Kubernetes API server answers"),
            Self::Broken(code) => write!(f, "the Kubernetes API server answers {code}"),
            Self::Silence(why) => write!(f, "the Kubernetes API server does not answer: {why}"),
        }
    }
}

// One 5xx may come from a webhook or an aggregated API that is down; so many in a row come from the server.
const STRIKES: u32 = 3;

const QUIET: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use tower::service_fn;

    use super::*;

    type Told = Arc<Mutex<Vec<Result<(), String>>>>;

    fn pulse() -> (Pulse, Told) {
        let told = Told::default();
        let health = Health::new({
            let told = told.clone();
            move |state| told.lock().unwrap().push(state)
        });
        (Pulse::new(health), told)
    }

    #[tokio::test]
    async fn silence_fails_at_once_and_the_next_answer_heals() {
        let (pulse, told) = pulse();
        pulse.heard(&Answer::Served);
        pulse.heard(&Answer::Silence("connection refused".into()));
        pulse.heard(&Answer::Silence("connection refused".into()));
        pulse.heard(&Answer::Served);
        let why = "the Kubernetes API server does not answer: connection refused";
        assert_eq!(*told.lock().unwrap(), [Err(why.to_owned()), Ok(())]);
    }

    #[tokio::test]
    async fn single_broken_answers_between_good_ones_fail_nothing() {
        let (pulse, told) = pulse();
        for _ in 0..5 {
            pulse.heard(&Answer::Broken(StatusCode::INTERNAL_SERVER_ERROR));
            pulse.heard(&Answer::Served);
        }
        assert!(told.lock().unwrap().is_empty());
        for _ in 0..STRIKES {
            pulse.heard(&Answer::Broken(StatusCode::SERVICE_UNAVAILABLE));
        }
        assert!(told.lock().unwrap()[0].is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_failing_server_is_probed_until_it_answers_and_a_well_one_never() {
        let (pulse, told) = pulse();
        let probes = Arc::new(AtomicU32::new(0));
        let service = service_fn({
            let (pulse, probes) = (pulse.clone(), probes.clone());
            move |request: Request<Body>| {
                assert_eq!(request.uri().path(), "/readyz");
                let first = probes.fetch_add(1, Ordering::SeqCst) == 0;
                pulse.heard(&if first {
                    Answer::Silence("gone".into())
                } else {
                    Answer::Served
                });
                std::future::ready(Ok::<_, tower::BoxError>(Response::new(Body::empty())))
            }
        });
        let task = tokio::spawn(pulse.clone().probe(Client::new(service, "default")));
        tokio::time::sleep(10 * QUIET).await;
        assert_eq!(probes.load(Ordering::SeqCst), 0);
        pulse.heard(&Answer::Silence("gone".into()));
        tokio::time::sleep(10 * QUIET).await;
        assert_eq!(probes.load(Ordering::SeqCst), 2);
        assert_eq!(told.lock().unwrap().last(), Some(&Ok(())));
        task.abort();
    }
}
