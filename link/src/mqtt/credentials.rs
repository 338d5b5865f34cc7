//! Which certificate the next connection uses: a new one is tried before it is trusted, and the old one is kept
//! until the broker took the new one (docs/ARCHITECTURE.md, invariant D). Pure: the driver feeds it events.
//!
//! **Invariant:** only the broker can refuse a certificate. A network that does not answer is no refusal and
//! changes nothing; a connection closed without a reason code (IoT Core's way to refuse, and also what a broken network
//! does) counts as a refusal when it happens several times in a row.
//! **Invariant:** when one of the two is refused, the other is tried next, whatever was said about it before.

use std::time::Duration;

use tokio::time::Instant;

/// A trusted value and perhaps a candidate to replace it.
#[derive(Debug)]
pub(super) struct TrustedCredentials<T> {
    trusted: T,
    // Whether a connection ever worked with `trusted`; before that there is nothing to fall back to.
    proven: bool,
    // On trial: the next connection uses it.
    candidate: Option<T>,
    // Set aside after a refusal, and when it is worth another try.
    refused: Option<(T, Instant)>,
    // Connections in a row that were closed before CONNACK with what is in use.
    closed: u32,
}

/// Why a connection could not be made, as far as the certificate is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptFailure {
    /// The broker named the certificate or its policy as the cause.
    Refused,
    /// Closed without a reason code.
    Closed,
    /// The network, the broker's own certificate, or a broker in trouble.
    Elsewhere,
}

/// What a failed attempt means for the certificates.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CredentialChange {
    /// The same one is used again.
    Same,
    /// The new one is set aside; the old one is used.
    SetAside,
    /// The old one is refused; the new one, set aside before, is used at once.
    Recalled,
}

// === impl TrustedCredentials ===

impl<T: Clone> TrustedCredentials<T> {
    pub(super) fn new(first: T) -> Self {
        Self {
            trusted: first,
            proven: false,
            candidate: None,
            refused: None,
            closed: 0,
        }
    }

    /// What the next connection should use.
    pub(super) fn current(&self) -> &T {
        self.candidate.as_ref().unwrap_or(&self.trusted)
    }

    /// A new value arrived; the next connection tries it.
    pub(super) fn offer(&mut self, new: T) {
        self.refused = None;
        self.closed = 0;
        if self.proven {
            self.candidate = Some(new);
        } else {
            self.trusted = new;
        }
    }

    /// The broker accepted a connection. Returns whether a candidate is trusted from now on.
    pub(super) fn connected(&mut self) -> bool {
        self.proven = true;
        self.closed = 0;
        match self.candidate.take() {
            None => false,
            Some(candidate) => {
                self.trusted = candidate;
                true
            }
        }
    }

    /// A connection attempt failed.
    pub(super) fn failed(&mut self, failure: AttemptFailure, now: Instant) -> CredentialChange {
        self.closed = match failure {
            AttemptFailure::Closed => self.closed + 1,
            AttemptFailure::Refused | AttemptFailure::Elsewhere => 0,
        };
        if failure != AttemptFailure::Refused && self.closed < CLOSED_IN_A_ROW {
            return CredentialChange::Same;
        }
        self.closed = 0;
        if let Some(candidate) = self.candidate.take() {
            self.refused = Some((candidate, now + RETRY_REFUSED));
            return CredentialChange::SetAside;
        }
        match self.refused.take() {
            None => CredentialChange::Same,
            Some((candidate, _)) => {
                self.candidate = Some(candidate);
                CredentialChange::Recalled
            }
        }
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

/// Closes before CONNACK in a row after which the broker is taken to refuse us: once or twice is the network.
pub(super) const CLOSED_IN_A_ROW: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_candidate() -> TrustedCredentials<&'static str> {
        let mut credentials = TrustedCredentials::new("old");
        assert!(!credentials.connected());
        credentials.offer("new");
        assert_eq!(*credentials.current(), "new");
        credentials
    }

    #[test]
    fn a_refused_candidate_gives_way_to_the_old_one_and_is_tried_again_later() {
        let now = Instant::now();
        let mut credentials = with_candidate();
        assert_eq!(
            credentials.failed(AttemptFailure::Refused, now),
            CredentialChange::SetAside
        );
        assert_eq!(*credentials.current(), "old");
        assert!(!credentials.connected());
        assert_eq!(credentials.retry_at(), Some(now + RETRY_REFUSED));
        credentials.retry();
        assert_eq!(*credentials.current(), "new");
        assert!(credentials.connected());
        assert_eq!(
            (*credentials.current(), credentials.retry_at()),
            ("new", None)
        );
    }

    #[test]
    fn a_network_failure_is_no_refusal_and_costs_no_ten_minutes() {
        let now = Instant::now();
        let mut credentials = with_candidate();
        for failure in [
            AttemptFailure::Closed,
            AttemptFailure::Closed,
            AttemptFailure::Elsewhere,
        ]
        .into_iter()
        .cycle()
        .take(100)
        {
            assert_eq!(credentials.failed(failure, now), CredentialChange::Same);
            assert_eq!(*credentials.current(), "new");
        }
        assert!(credentials.connected());
        assert_eq!(credentials.retry_at(), None);
    }

    #[test]
    fn being_closed_three_times_in_a_row_counts_as_a_refusal_and_twice_does_not() {
        let now = Instant::now();
        let mut credentials = with_candidate();
        for expected in [
            CredentialChange::Same,
            CredentialChange::Same,
            CredentialChange::SetAside,
        ] {
            assert_eq!(credentials.failed(AttemptFailure::Closed, now), expected);
        }
        assert_eq!(*credentials.current(), "old");
    }

    #[test]
    fn a_candidate_set_aside_is_used_at_once_when_the_old_one_is_dead() {
        let now = Instant::now();
        for deaths in [
            vec![AttemptFailure::Refused],
            vec![AttemptFailure::Closed; 3],
        ] {
            let mut credentials = with_candidate();
            credentials.failed(AttemptFailure::Refused, now);
            credentials.connected();
            let turns: Vec<_> = deaths
                .into_iter()
                .map(|failure| credentials.failed(failure, now))
                .collect();
            assert_eq!(turns.last(), Some(&CredentialChange::Recalled));
            assert_eq!(*credentials.current(), "new");
            // While both are refused they alternate.
            assert_eq!(
                credentials.failed(AttemptFailure::Refused, now),
                CredentialChange::SetAside
            );
            assert_eq!(
                credentials.failed(AttemptFailure::Refused, now),
                CredentialChange::Recalled
            );
            assert!(credentials.connected());
            assert_eq!(*credentials.current(), "new");
        }
    }

    #[test]
    fn before_the_first_connection_the_newest_is_used_at_once() {
        let mut credentials = TrustedCredentials::new("first");
        credentials.offer("second");
        assert_eq!(*credentials.current(), "second");
        assert_eq!(
            credentials.failed(AttemptFailure::Refused, Instant::now()),
            CredentialChange::Same
        );
        assert_eq!(*credentials.current(), "second");
    }
}
