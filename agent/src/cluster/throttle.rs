//! A token bucket in front of the API server.
//!
//! The server protects itself: API Priority and Fairness queues and refuses by user, far better than a client can
//! guess. The bucket only protects it from a bug of ours (a loop that asks without a pause) and is therefore wide. It
//! is fair: the client hands requests over one by one, in the order in which they were made. A watch takes one token
//! when it begins, none while it lasts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Layer, Service};

use super::metrics::ClientMetrics;

/// Requests per second in the long run: several times what a start with a thousand works needs, and still little for
/// an API server.
pub const DEFAULT_QPS: f32 = 500.0;
/// Requests at once: 100 new works (at most 6 each), with room for what else goes on.
pub const DEFAULT_BURST: u32 = 1000;

/// Puts a bucket in front of a service.
#[derive(Clone)]
pub(super) struct Throttle {
    bucket: Option<Bucket>,
    metrics: ClientMetrics,
}

/// A service behind a bucket.
pub(super) struct Throttled<S> {
    inner: S,
    bucket: Option<Bucket>,
    metrics: ClientMetrics,
    token: TokenState,
}

/// Where the next request stands.
enum TokenState {
    /// Nobody asked yet.
    Idle,
    /// There is no token before this ends.
    Waiting {
        since: Instant,
        until: Pin<Box<Sleep>>,
    },
    /// It has its token and waited this long for it.
    Granted(Duration),
}

/// Tokens that come back with time.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    capacity: f64,
    tokens: f64,
    counted: Instant,
}

// === impl Throttle ===

impl Throttle {
    pub(super) fn new(qps: f32, burst: u32, metrics: ClientMetrics) -> Self {
        Self {
            bucket: (qps > 0.0).then(|| Bucket::full(qps.into(), burst, Instant::now())),
            metrics,
        }
    }
}

impl<S> Layer<S> for Throttle {
    type Service = Throttled<S>;

    fn layer(&self, inner: S) -> Throttled<S> {
        Throttled {
            inner,
            bucket: self.bucket.clone(),
            metrics: self.metrics.clone(),
            token: TokenState::Idle,
        }
    }
}

// === impl Throttled ===

impl<S: Service<R>, R> Service<R> for Throttled<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let Some(bucket) = &mut self.bucket else {
            return self.inner.poll_ready(cx);
        };
        loop {
            let since = match &mut self.token {
                TokenState::Granted(_) => return self.inner.poll_ready(cx),
                TokenState::Idle => Instant::now(),
                TokenState::Waiting { since, until } => {
                    ready!(until.as_mut().poll(cx));
                    *since
                }
            };
            let now = Instant::now();
            self.token = match bucket.take(now) {
                None => TokenState::Granted(now - since),
                Some(until) => TokenState::Waiting {
                    since,
                    until: Box::pin(sleep_until(until)),
                },
            };
        }
    }

    fn call(&mut self, request: R) -> S::Future {
        if let TokenState::Granted(waited) = std::mem::replace(&mut self.token, TokenState::Idle) {
            self.metrics.waited.observe(waited.as_secs_f64());
        }
        self.inner.call(request)
    }
}

// === impl Bucket ===

impl Bucket {
    pub(crate) fn full(per_second: f64, burst: u32, now: Instant) -> Self {
        let capacity = f64::from(burst.max(1));
        Self {
            per_second,
            capacity,
            tokens: capacity,
            counted: now,
        }
    }

    /// Takes a token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let elapsed = now.saturating_duration_since(self.counted);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(self.capacity);
        self.counted = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        let missing = Duration::from_secs_f64((1.0 - self.tokens) / self.per_second);
        // A timer has milliseconds: waking earlier would only ask once more.
        Some(now + missing + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use prometheus::Registry;
    use tower::{ServiceExt, service_fn};

    use super::*;

    fn throttled(qps: f32, burst: u32) -> (impl Service<u32, Error = Infallible>, ClientMetrics) {
        let metrics = ClientMetrics::register(&Registry::new()).unwrap();
        let throttle = Throttle::new(qps, burst, metrics.clone());
        let inner = service_fn(|request: u32| async move { Ok(request) });
        (throttle.layer(inner), metrics)
    }

    async fn time_for(requests: u32, service: &mut impl Service<u32, Error = Infallible>) -> f64 {
        let started = Instant::now();
        for request in 0..requests {
            let _ = service.ready().await.unwrap().call(request).await;
        }
        started.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn burst_is_free_and_the_rest_comes_at_the_rate() {
        let (mut service, metrics) = throttled(10.0, 5);
        assert_eq!(time_for(5, &mut service).await, 0.0);
        let seconds = time_for(20, &mut service).await;
        assert!((1.9..2.2).contains(&seconds), "{seconds}");
        assert_eq!(metrics.waited.get_sample_count(), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_come_back_up_to_the_burst_and_no_further() {
        let (mut service, _) = throttled(10.0, 5);
        time_for(5, &mut service).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(time_for(5, &mut service).await, 0.0);
        assert!(time_for(1, &mut service).await > 0.09);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit() {
        let (mut service, _) = throttled(0.0, 0);
        assert_eq!(time_for(10_000, &mut service).await, 0.0);
    }
}
