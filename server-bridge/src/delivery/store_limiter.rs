//! Limits the concurrent store calls of lanes. There is a lane for each consumer with pending bundles, and a full outbox of
//! thousands of consumers must not fill the queue in which API requests and agents' events wait as well.
//!
//! **Invariant:** a call has its permit only while the store works on it, never while the broker is waited for.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// The permits. Clones share them.
#[derive(Clone)]
pub(super) struct StoreLimiter(Arc<Semaphore>);

// === impl StoreLimiter ===

impl StoreLimiter {
    pub(super) fn new(permits: usize) -> Self {
        Self(Arc::new(Semaphore::new(permits)))
    }

    /// Does it when its turn has come, in the order of asking.
    pub(super) async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        // It is never closed.
        let _permit = self.0.acquire().await;
        call.await
    }
}

/// With [`NOTE_PERMITS`] half of what may wait where connections are fewest: three that delivery may use, 128 waiters for each
/// (`Limits::waiting`), (3 + 3 × 128) / 2 = 193. The other half is for statuses and the API. Each call takes milliseconds, so
/// that the last of them gets its connection well within the 5 s for which it waits.
pub(super) const PERMITS: usize = 128;

/// Places for notes of what became of publications: what is not noted when a lane must end is sent once more.
pub(super) const NOTE_PERMITS: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::watch;
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn as_many_calls_as_there_are_permits_are_made_and_the_next_one_waits_for_one_to_end() {
        let limiter = StoreLimiter::new(PERMITS);
        let begun = Arc::new(AtomicUsize::new(0));
        let done = watch::Sender::new(0);
        let mut calls = JoinSet::new();
        for number in 0..=PERMITS {
            let (limiter, count, mut done) = (limiter.clone(), begun.clone(), done.subscribe());
            calls.spawn(async move {
                let call = async {
                    count.fetch_add(1, Ordering::Relaxed);
                    let _ = done.wait_for(|done| *done > number).await;
                };
                limiter.pass(call).await;
            });
            yield_now().await;
            let expected = (number + 1).min(PERMITS);
            assert_eq!(begun.load(Ordering::Relaxed), expected);
        }
        done.send_replace(1);
        calls.join_next().await.unwrap().unwrap();
        while begun.load(Ordering::Relaxed) <= PERMITS {
            yield_now().await;
        }
        done.send_replace(usize::MAX);
        calls.join_all().await;
    }
}
