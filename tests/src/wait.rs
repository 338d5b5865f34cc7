//! Waits for a condition with a deadline; a test that gives up says what it saw last.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, Timeout, sleep, timeout_at};

/// A condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {waited:?} for {what}; last status: {last}")]
pub struct TimedOut {
    what: String,
    waited: Duration,
    last: String,
}

/// Asks `probe` again and again until it answers `Ok`, or fails with its last status once `patience` is over.
///
/// A probe that hangs is cut off at the deadline too. `TEST_PATIENCE` multiplies every deadline, for slow machines.
///
/// # Errors
/// When the deadline passes first.
pub async fn wait_for<T, E: Display>(
    what: &str,
    patience: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let patience = patient(patience);
    let begun = Instant::now();
    let deadline = begun + patience;
    let mut last = "never answered".to_owned();
    loop {
        match timeout_at(deadline, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(status)) => last = status.to_string(),
            Err(_) => last = format!("{last} (then the probe itself hung)"),
        }
        if Instant::now() + INTERVAL >= deadline {
            return Err(TimedOut {
                what: what.to_owned(),
                waited: begun.elapsed(),
                last,
            });
        }
        sleep(INTERVAL).await;
    }
}

/// Makes attempts at something that is promised within a time, until one keeps to it. A machine that has other things to
/// do may be late once, and says nothing about the promise then; what cannot keep to it never does.
///
/// # Errors
/// When an attempt fails, or none of [`ATTEMPTS`] takes less.
pub async fn quick_enough(
    what: &str,
    promised: Duration,
    mut attempt: impl AsyncFnMut() -> Result<Duration>,
) -> Result<()> {
    let mut times = Vec::new();
    while times.len() < ATTEMPTS {
        let time = attempt().await?;
        if time < promised {
            return Ok(());
        }
        times.push(time);
    }
    bail!("{what} is promised within {promised:?} and took {times:?}")
}

/// As tokio's, for what should be done long before: `TEST_PATIENCE` multiplies the deadline. Not for what should not happen
/// within a time.
pub fn timeout<F: IntoFuture>(deadline: Duration, future: F) -> Timeout<F::IntoFuture> {
    tokio::time::timeout(patient(deadline), future)
}

/// A deadline as it counts on this machine: `TEST_PATIENCE` times as long.
pub fn patient(deadline: Duration) -> Duration {
    let times = std::env::var("TEST_PATIENCE").ok();
    let times = times.and_then(|text| text.parse().ok()).unwrap_or(1);
    deadline.saturating_mul(times)
}

// Short beside every deadline in use (seconds), long beside the cost of one HTTP request on loopback (< 1 ms).
const INTERVAL: Duration = Duration::from_millis(20);

/// How often something may be late on a machine that has other things to do.
pub const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timeout_tells_the_last_status() {
        let mut asked = 0;
        let outcome = wait_for(
            "the tenth answer",
            Duration::from_millis(50),
            async || -> Result<(), _> {
                asked += 1;
                Err(format!("answer {}", asked.min(1)))
            },
        )
        .await;
        let text = outcome.unwrap_err().to_string();
        assert!(
            text.ends_with("for the tenth answer; last status: answer 1"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_hanging_probe_is_cut_off() {
        let outcome = wait_for("nothing", Duration::from_millis(50), async || {
            std::future::pending::<Result<(), &str>>().await
        })
        .await;
        assert!(
            outcome
                .unwrap_err()
                .to_string()
                .contains("probe itself hung")
        );
    }

    #[tokio::test]
    async fn one_attempt_in_time_is_enough_and_none_is_told_with_all_times() {
        let promised = Duration::from_secs(1);
        let mut left = ATTEMPTS;
        let attempts = quick_enough("it", promised, async || {
            left -= 1;
            Ok(if left == 0 { Duration::ZERO } else { promised })
        });
        attempts.await.unwrap();
        let late = quick_enough("it", promised, async || Ok(promised)).await;
        let text = late.unwrap_err().to_string();
        assert!(
            text.starts_with("it is promised within 1s and took [1s, "),
            "{text}"
        );
    }
}
