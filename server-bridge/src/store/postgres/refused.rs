//! Credentials that the server refused: all operations together try them at most once a second.

use std::time::Duration;

use tokio::time::Instant;

use super::credentials::Credentials;

/// What was refused last, and when it was tried last.
#[derive(Default)]
pub(super) struct RefusedCredentials(Option<(Credentials, Instant)>);

// === impl RefusedCredentials ===

impl RefusedCredentials {
    /// Whether these may be tried now; whoever is told so is the only one until [`HOLD`] is over.
    pub(super) fn may_try(&mut self, credentials: &Credentials) -> bool {
        let now = Instant::now();
        match &mut self.0 {
            Some((refused, tried)) if refused == credentials => {
                let may = now >= *tried + HOLD;
                if may {
                    *tried = now;
                }
                may
            }
            _ => true,
        }
    }

    pub(super) fn failed(&mut self, credentials: Credentials) {
        self.0 = Some((credentials, Instant::now()));
    }

    pub(super) fn passed(&mut self) {
        self.0 = None;
    }
}

/// Between two attempts with the same.
pub(super) const HOLD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn with(password: &str) -> Credentials {
        Credentials {
            host: "db".into(),
            port: 5432,
            name: "d".into(),
            user: "u".into(),
            password: password.into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_is_tried_by_one_a_second_and_what_is_new_at_once() {
        let mut refused = RefusedCredentials::default();
        assert!(refused.may_try(&with("old")) && refused.may_try(&with("old")));
        refused.failed(with("old"));
        assert!(!refused.may_try(&with("old")));
        assert!(refused.may_try(&with("new")));
        tokio::time::advance(HOLD).await;
        assert!(refused.may_try(&with("old")));
        assert!(!refused.may_try(&with("old")));
        refused.passed();
        assert!(refused.may_try(&with("old")));
    }
}
