//! The end of all that AWS is asked.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::facts::{Known, Unknown};

/// The end of all questions.
#[derive(Clone, Copy)]
pub(super) struct Until {
    deadline: Instant,
    within: Duration,
}

// === impl Until ===

impl Until {
    /// From now on.
    pub(super) fn begin(within: Duration) -> Self {
        Self {
            deadline: Instant::now() + within,
            within,
        }
    }

    pub(super) const fn deadline(self) -> Instant {
        self.deadline
    }

    /// The answer, or that there was none: one service that is silent, as where a firewall lets the others through, takes
    /// nothing from what the others say.
    pub(super) async fn known<T>(
        self,
        action: &str,
        asking: impl Future<Output = Known<T>>,
    ) -> Known<T> {
        let answer = timeout_at(self.deadline, asking).await;
        answer.unwrap_or_else(|_| {
            let within = self.within.as_secs();
            Err(Unknown::Failed(format!(
                "{action}: no answer within {within} s"
            )))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_without_an_answer_leaves_the_others_theirs() {
        let until = Until::begin(Duration::from_secs(4));
        let (silent, told) = tokio::join!(
            until.known("a:Silent", std::future::pending::<Known<bool>>()),
            until.known("a:Told", async { Ok(true) }),
        );
        let expected = Unknown::Failed("a:Silent: no answer within 4 s".into());
        assert_eq!((silent, told), (Err(expected), Ok(true)));
    }
}
