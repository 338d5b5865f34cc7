//! Repeats a call that AWS refuses because an earlier change has not settled yet.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::aws::{AwsError, AwsErrorKind};

/// Calls until the answer is not [`AwsErrorKind::Settling`], for [`PATIENCE`] at most.
pub(crate) async fn settled<T>(
    mut call: impl AsyncFnMut() -> Result<T, AwsError>,
) -> Result<T, AwsError> {
    let deadline = Instant::now() + PATIENCE;
    let mut delay = FIRST;
    loop {
        match call().await {
            Err(error) if error.kind() == AwsErrorKind::Settling && Instant::now() < deadline => {
                sleep(delay).await;
                delay = (delay * 2).min(LONGEST);
            }
            decided => return decided,
        }
    }
}

// A detachment is seen everywhere within seconds; a minute is what others wait too.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: AwsErrorKind) -> AwsError {
        AwsError::new(kind, "iot:DeleteCertificate", "a", "no")
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_too_early_is_made_again() {
        let mut calls = 0;
        let outcome = settled(async || {
            calls += 1;
            match calls {
                3 => Ok(calls),
                _ => Err(refusal(AwsErrorKind::Settling)),
            }
        });
        assert_eq!(outcome.await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_other_failures_are_final() {
        let outcome: Result<(), _> = settled(async || Err(refusal(AwsErrorKind::Settling))).await;
        assert_eq!(outcome.unwrap_err().kind(), AwsErrorKind::Settling);
        let mut calls = 0;
        let outcome: Result<(), _> = settled(async || {
            calls += 1;
            Err(refusal(AwsErrorKind::Denied))
        })
        .await;
        assert_eq!(
            (outcome.unwrap_err().kind(), calls),
            (AwsErrorKind::Denied, 1)
        );
    }
}
