//! Which certificate the next connection uses: a new one is tried before it is trusted, and the old one is kept
//! until the broker took the new one (system.md §6d). Pure: the driver tells it what happened.

use std::time::Duration;

use tokio::time::Instant;

/// A trusted value and perhaps a candidate to replace it.
#[derive(Debug)]
pub(super) struct Credentials<T> {
    trusted: T,
    // Whether a connection ever worked with `trusted`; before that there is nothing to go back to.
    proven: bool,
    candidate: Option<T>,
    using_candidate: bool,
    refused: Option<(T, Instant)>,
}

/// What a successful connection means for the candidate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was on trial.
    Unchanged,
    /// The candidate is trusted from now on.
    Promoted,
    /// The old one works where the candidate did not: the candidate is set aside.
    SetAside,
}

// === impl Credentials ===

impl<T: Clone> Credentials<T> {
    pub(super) fn new(first: T) -> Self {
        Self {
            trusted: first,
            proven: false,
            candidate: None,
            using_candidate: false,
            refused: None,
        }
    }

    /// What the next connection should use.
    pub(super) fn current(&self) -> &T {
        match &self.candidate {
            Some(candidate) if self.using_candidate => candidate,
            _ => &self.trusted,
        }
    }

    /// A new value arrived; the next connection tries it.
    pub(super) fn offer(&mut self, new: T) {
        self.refused = None;
        if self.proven {
            self.candidate = Some(new);
            self.using_candidate = true;
        } else {
            self.trusted = new;
        }
    }

    /// The broker accepted a connection.
    pub(super) fn connected(&mut self, now: Instant) -> Verdict {
        self.proven = true;
        match self.candidate.take() {
            None => Verdict::Unchanged,
            Some(candidate) if self.using_candidate => {
                self.using_candidate = false;
                self.trusted = candidate;
                Verdict::Promoted
            }
            Some(candidate) => {
                self.refused = Some((candidate, now + RETRY_REFUSED));
                Verdict::SetAside
            }
        }
    }

    /// A connection attempt failed. `refused` tells that the broker named the certificate or its policy as the
    /// cause; otherwise it may have been the network, and old and new take turns. Returns whether the candidate
    /// was set aside.
    pub(super) fn failed(&mut self, refused: bool, now: Instant) -> bool {
        if self.candidate.is_none() {
            return false;
        }
        if refused && self.using_candidate {
            self.refused = self
                .candidate
                .take()
                .map(|candidate| (candidate, now + RETRY_REFUSED));
            self.using_candidate = false;
            return true;
        }
        self.using_candidate = !self.using_candidate;
        false
    }

    /// When a refused candidate is worth another try: it may have been registered or activated meanwhile.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.refused.as_ref().map(|(_, at)| *at)
    }

    /// Offers the refused candidate again.
    pub(super) fn retry(&mut self) {
        if let Some((candidate, _)) = self.refused.take() {
            self.offer(candidate);
        }
    }
}

// Long enough for a person to register or activate the certificate, short against its lifetime.
const RETRY_REFUSED: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_candidate_gives_way_to_the_old_one_and_is_tried_again_later() {
        let now = Instant::now();
        let mut credentials = Credentials::new("old");
        assert_eq!(credentials.connected(now), Verdict::Unchanged);
        credentials.offer("new");
        assert_eq!(*credentials.current(), "new");
        assert!(credentials.failed(true, now));
        assert_eq!(*credentials.current(), "old");
        assert_eq!(credentials.connected(now), Verdict::Unchanged);
        assert_eq!(credentials.retry_at(), Some(now + RETRY_REFUSED));
        credentials.retry();
        assert_eq!(*credentials.current(), "new");
        assert_eq!(credentials.connected(now), Verdict::Promoted);
        assert_eq!(
            (*credentials.current(), credentials.retry_at()),
            ("new", None)
        );
    }

    #[test]
    fn an_unclear_failure_lets_old_and_new_take_turns() {
        let now = Instant::now();
        let mut credentials = Credentials::new("old");
        credentials.connected(now);
        credentials.offer("new");
        for expected in ["old", "new", "old"] {
            assert!(!credentials.failed(false, now));
            assert_eq!(*credentials.current(), expected);
        }
        assert_eq!(credentials.connected(now), Verdict::SetAside);
        assert_eq!(*credentials.current(), "old");
    }

    #[test]
    fn before_the_first_connection_the_newest_is_used_at_once() {
        let mut credentials = Credentials::new("first");
        credentials.offer("second");
        assert_eq!(*credentials.current(), "second");
        assert!(!credentials.failed(true, Instant::now()));
        assert_eq!(*credentials.current(), "second");
    }
}
