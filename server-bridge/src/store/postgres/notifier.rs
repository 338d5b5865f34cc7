//! Notifications between the replicas on one schema: a commit of one wakes the lanes of the others at once.
//!
//! Sweeps are the mechanism; notifications only make them earlier. They may be lost, late or forged, and without them a
//! sweep finds everything. A commit that runs NOTIFY takes a lock of the whole server until it is on disk, so
//! notifications are sent after the commit, on the listener's connection, and at most once per
//! [`Limits::notify_interval`](super::Limits::notify_interval).
//!
//! A payload is a list of words: names of consumers, `!` for [`Hint::Replicas`], `?` for [`Hint::Reported`], `*` for
//! [`Hint::Somebody`]. An empty payload means `*`, which is also sent when the names do not fit. Unknown words are ignored,
//! so that a newer bridge may send more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::id::ConsumerName;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::super::Hint;
use super::metrics::NotifyMetrics;

mod listener;

pub(super) use listener::tend;

/// Collects hints for the next notification. Clones share it.
#[derive(Clone)]
pub(super) struct Notifier {
    next: Arc<Mutex<Pending>>,
    added: Arc<Notify>,
    every: Duration,
    metrics: NotifyMetrics,
}

#[derive(Default)]
struct Pending {
    consumers: BTreeSet<ConsumerName>,
    /// Of the payload with these consumers.
    bytes: usize,
    somebody: bool,
    replicas: bool,
    reported: bool,
    last: Option<Instant>,
}

// === impl Notifier ===

impl Notifier {
    pub(super) fn new(every: Duration, metrics: NotifyMetrics) -> Self {
        Self {
            next: Arc::default(),
            added: Arc::default(),
            every,
            metrics,
        }
    }

    /// Sends a hint to the other replicas soon; does not wait.
    pub(super) fn notify(&self, hint: Hint) {
        self.lock().add(hint);
        self.added.notify_one();
    }

    /// Waits until there is something to send and the interval since the last notification is over. Cancel safe.
    async fn due(&self) {
        loop {
            let last = {
                let next = self.lock();
                next.is_some().then_some(next.last)
            };
            match last {
                None => self.added.notified().await,
                Some(None) => return,
                Some(Some(last)) => return sleep_until(last + self.every).await,
            }
        }
    }

    /// What to send now, if anything.
    fn take(&self) -> Option<String> {
        let mut next = self.lock();
        next.is_some().then(|| next.take(Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Every change is complete in itself.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pending ===

impl Pending {
    fn add(&mut self, hint: Hint) {
        match hint {
            Hint::Replicas => self.replicas = true,
            Hint::Reported => self.reported = true,
            Hint::Somebody => self.somebody = true,
            // Said already.
            Hint::Consumer(_) if self.somebody => {}
            Hint::Consumer(name) => {
                let bytes = name.as_str().len() + 1;
                if self.bytes + bytes > PAYLOAD_BYTES {
                    self.somebody = true;
                } else if self.consumers.insert(name) {
                    self.bytes += bytes;
                }
            }
        }
        if self.somebody {
            self.consumers.clear();
            self.bytes = 0;
        }
    }

    fn is_some(&self) -> bool {
        self.somebody || self.replicas || self.reported || !self.consumers.is_empty()
    }

    fn take(&mut self, now: Instant) -> String {
        let taken = std::mem::take(self);
        self.last = Some(now);
        let mut words: Vec<&str> = taken.consumers.iter().map(ConsumerName::as_str).collect();
        let signs = [
            (taken.somebody, SOMEBODY),
            (taken.replicas, REPLICAS),
            (taken.reported, REPORTED),
        ];
        words.extend(
            signs
                .iter()
                .filter(|(said, _)| *said)
                .map(|(_, sign)| *sign),
        );
        words.join(" ")
    }
}

/// What a payload says, whoever sent it.
fn heard(payload: &str) -> Vec<Hint> {
    if payload.is_empty() {
        return vec![Hint::Somebody];
    }
    let mut known = BTreeSet::new();
    let words = payload.split(' ').filter(|word| known.insert(*word));
    let hints = words.filter_map(|word| match word {
        SOMEBODY => Some(Hint::Somebody),
        REPLICAS => Some(Hint::Replicas),
        REPORTED => Some(Hint::Reported),
        name => ConsumerName::new(name).ok().map(Hint::Consumer),
    });
    hints.collect()
}

const SOMEBODY: &str = "*";
const REPLICAS: &str = "!";
const REPORTED: &str = "?";

// PostgreSQL takes less than 8 000; room is left for the three signs.
const PAYLOAD_BYTES: usize = 6990;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ConsumerName {
        ConsumerName::new(text).unwrap()
    }

    fn said(hints: Vec<Hint>) -> String {
        let mut next = Pending::default();
        hints.into_iter().for_each(|hint| next.add(hint));
        next.take(Instant::now())
    }

    #[test]
    fn a_payload_names_each_consumer_once_and_is_understood_as_it_was_meant() {
        let consumers = ["b", "a", "b"].map(|text| Hint::Consumer(name(text)));
        let payload = said([consumers.to_vec(), vec![Hint::Replicas]].concat());
        assert_eq!(payload, "a b !");
        assert_eq!(
            heard(&payload),
            [
                Hint::Consumer(name("a")),
                Hint::Consumer(name("b")),
                Hint::Replicas
            ]
        );
        assert_eq!(heard(&said(vec![Hint::Somebody])), [Hint::Somebody]);
        let both = said(vec![Hint::Replicas, Hint::Somebody]);
        assert_eq!(heard(&both), [Hint::Somebody, Hint::Replicas]);
        let reported = said(vec![Hint::Reported, Hint::Consumer(name("a"))]);
        assert_eq!(reported, "a ?");
        assert_eq!(
            heard(&reported),
            [Hint::Consumer(name("a")), Hint::Reported]
        );
    }

    #[test]
    fn names_that_do_not_fit_become_somebody_and_a_payload_always_fits() {
        let many = |count: u32| -> Vec<Hint> {
            let names = (0..count).map(|number| name(&format!("consumer-{number:05}")));
            names.map(Hint::Consumer).collect()
        };
        let fits = said(many(6990 / 15));
        assert!(
            fits.len() < 7000 && heard(&fits).len() == 466,
            "{}",
            fits.len()
        );
        assert_eq!(said(many(467)), "*");
        assert_eq!(said([many(500), vec![Hint::Replicas]].concat()), "* !");
    }

    #[test]
    fn unknown_words_are_ignored() {
        assert_eq!(heard("  \u{0}/+# {\"a\":1} ?later"), []);
        assert_eq!(
            heard("DROP TABLE; a *"),
            [Hint::Consumer(name("a")), Hint::Somebody]
        );
        assert!(heard(&"\u{1F514}".repeat(1999)).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn notifications_are_an_interval_apart() {
        let notifier = Notifier::new(Duration::from_millis(50), NotifyMetrics::unregistered());
        let began = Instant::now();
        for _ in 0..10 {
            notifier.notify(Hint::Consumer(name("a")));
            notifier.notify(Hint::Consumer(name("b")));
            notifier.due().await;
            assert_eq!(notifier.take().unwrap(), "a b");
            assert_eq!(notifier.take(), None);
        }
        assert_eq!(began.elapsed(), Duration::from_millis(450));
    }
}
