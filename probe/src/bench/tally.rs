//! What became of each message, and the sums; pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::plan::Plan;
use crate::output::millis;
use crate::ping::Summary;

/// What is known of the messages of one connection.
#[derive(Debug, Default)]
pub(super) struct Tally {
    // The first that counts; those before are the warm-up.
    first: u64,
    marks: Vec<u8>,
    // The highest number that came.
    highest: Option<u64>,
    // Acknowledged, and not come yet; warm-up included.
    missing: u64,
    duplicated: u64,
    reordered: u64,
    disconnects: u64,
    // From when it was due to when it came, and to its acknowledgement.
    latencies: Vec<Duration>,
    acknowledgements: Vec<Duration>,
}

/// The sums of all connections.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) due: u64,
    pub(super) unsent: u64,
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) throttled: u64,
    pub(super) refused: u64,
    pub(super) unanswered: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) disconnects: u64,
    /// How long was measured, if somebody ended it before its time.
    pub(super) ended_after: Option<Duration>,
    latencies: Vec<Duration>,
    acknowledgements: Vec<Duration>,
}

// === impl Tally ===

impl Tally {
    /// Of `all` messages those from `first` count.
    pub(super) fn new(first: u64, all: u64) -> Self {
        Self {
            first,
            marks: vec![0; usize::try_from(all).unwrap_or_default()],
            ..Self::default()
        }
    }

    /// It was handed to the session.
    pub(super) fn sent(&mut self, message: u64) {
        self.mark(message, SENT);
    }

    /// The broker has it.
    pub(super) fn acknowledged(&mut self, message: u64, took: Duration) {
        if self.mark(message, ACKNOWLEDGED) & RECEIVED == 0 {
            self.missing += 1;
        }
        if message >= self.first {
            self.acknowledgements.push(took);
        }
    }

    /// The broker had too much for now.
    pub(super) fn throttled(&mut self, message: u64) {
        self.mark(message, THROTTLED);
    }

    /// The broker did not want it.
    pub(super) fn refused(&mut self, message: u64) {
        self.mark(message, REFUSED);
    }

    /// It came.
    pub(super) fn received(&mut self, message: u64, took: Duration) {
        let before = self.mark(message, RECEIVED);
        let counts = message >= self.first;
        if before & RECEIVED != 0 {
            self.duplicated += u64::from(counts);
            return;
        }
        if before & ACKNOWLEDGED != 0 {
            self.missing = self.missing.saturating_sub(1);
        }
        if self.highest.is_some_and(|highest| message < highest) {
            self.reordered += u64::from(counts);
        }
        self.highest = self.highest.max(Some(message));
        if counts {
            self.latencies.push(took);
        }
    }

    /// The connection went.
    pub(super) fn disconnected(&mut self) {
        self.disconnects += 1;
    }

    /// Whether everything came that was acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.missing == 0
    }

    /// Only the first so many were due: the run was ended.
    pub(super) fn cut(&mut self, due: u64) {
        self.marks
            .truncate(usize::try_from(due).unwrap_or(usize::MAX));
    }

    /// Returns what was known before.
    fn mark(&mut self, message: u64, mark: u8) -> u8 {
        let index = usize::try_from(message).unwrap_or(usize::MAX);
        let Some(marks) = self.marks.get_mut(index) else {
            return 0;
        };
        let before = *marks;
        *marks |= mark;
        before
    }
}

// === impl Sums ===

impl Sums {
    /// Adds what became of the messages of a connection.
    pub(super) fn add(&mut self, tally: Tally) {
        let first = usize::try_from(tally.first).unwrap_or(usize::MAX);
        for marks in tally.marks.into_iter().skip(first) {
            self.due += 1;
            self.delivered += u64::from(marks & RECEIVED != 0);
            if marks & SENT == 0 {
                self.unsent += 1;
                continue;
            }
            self.sent += 1;
            let one = match marks {
                marks if marks & ACKNOWLEDGED != 0 => {
                    self.lost += u64::from(marks & RECEIVED == 0);
                    &mut self.acknowledged
                }
                marks if marks & THROTTLED != 0 => &mut self.throttled,
                marks if marks & REFUSED != 0 => &mut self.refused,
                _ => &mut self.unanswered,
            };
            *one += 1;
        }
        self.duplicated += tally.duplicated;
        self.reordered += tally.reordered;
        self.disconnects += tally.disconnects;
        self.latencies.extend(tally.latencies);
        self.acknowledgements.extend(tally.acknowledgements);
    }

    /// Whether everything that was due came through. What came twice or in another order came, as QoS 1 allows.
    pub(super) fn is_good(&self) -> bool {
        self.delivered == self.due && self.acknowledged == self.due
    }

    /// What the worst of it means.
    pub(super) fn hint(&self) -> &'static str {
        if self.refused > 0 {
            "allow `iot:Publish` on `topic/test/*`; `probe doctor` with the same options of the connection says what else the broker refuses, and why"
        } else if self.throttled > 0 {
            "the broker limits the rate: lower `--rate`, or spread it over more `--connections`"
        } else if self.disconnects > 0 {
            "connections ended in between: look at the broker's log, and at what `probe doctor` with the same options of the connection finds"
        } else if self.unsent > 0 || self.unanswered > 0 {
            "the broker does not keep up: lower `--rate`, or give more time with `-W`"
        } else {
            "allow `iot:Receive` on `topic/test/*`: without it messages are dropped in silence"
        }
    }

    fn measured(&self, plan: &Plan) -> Duration {
        self.ended_after.unwrap_or(plan.duration)
    }

    /// A few lines for people.
    pub(super) fn text(&self, plan: &Plan) -> String {
        let mut lines = vec![
            format!(
                "{} messages of {} bytes due in {} s on {} connections: {} sent, {} acknowledged, {} received",
                self.due,
                plan.size,
                self.measured(plan).as_secs_f32(),
                plan.connections,
                self.sent,
                self.acknowledged,
                self.delivered
            ),
            format!(
                "unsent {}, throttled {}, refused {}, unanswered {}, lost {}, duplicated {}, reordered {}, disconnects {}",
                self.unsent,
                self.throttled,
                self.refused,
                self.unanswered,
                self.lost,
                self.duplicated,
                self.reordered,
                self.disconnects
            ),
        ];
        for (what, times) in [
            ("due to received", &self.latencies),
            ("due to acknowledged", &self.acknowledgements),
        ] {
            if let Some(summary) = Summary::of(times) {
                lines.push(format!(
                    "{what}: min {} ms, p50 {} ms, p90 {} ms, p99 {} ms, max {} ms",
                    millis(summary.min),
                    millis(summary.p50),
                    millis(summary.p90),
                    millis(summary.p99),
                    millis(summary.max)
                ));
            }
        }
        lines.join("\n")
    }

    /// The members of the result.
    pub(super) fn json(&self, plan: &Plan) -> Value {
        json!({
            "connections": plan.connections,
            "rate": plan.rate,
            "size": plan.size,
            "seconds": self.measured(plan).as_secs_f64(),
            "interrupted": self.ended_after.is_some(),
            "due": self.due,
            "unsent": self.unsent,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "throttled": self.throttled,
            "refused": self.refused,
            "unanswered": self.unanswered,
            "received": self.delivered,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "disconnects": self.disconnects,
            "receivedMs": times(&self.latencies),
            "acknowledgedMs": times(&self.acknowledgements),
        })
    }
}

fn times(times: &[Duration]) -> Value {
    match Summary::of(times) {
        None => Value::Null,
        Some(summary) => json!({
            "min": millis(summary.min), "p50": millis(summary.p50), "p90": millis(summary.p90),
            "p99": millis(summary.p99), "max": millis(summary.max),
        }),
    }
}

const SENT: u8 = 1;
const ACKNOWLEDGED: u8 = 2;
const THROTTLED: u8 = 4;
const REFUSED: u8 = 8;
const RECEIVED: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_counted_once_and_the_warm_up_not_at_all() {
        let ms = Duration::from_millis;
        let mut tally = Tally::new(2, 10);
        for message in 0..9 {
            tally.sent(message);
        }
        for message in [0, 1, 2, 3, 4] {
            tally.acknowledged(message, ms(1));
        }
        // Before its acknowledgement, twice, and overtaken.
        tally.received(5, ms(2));
        tally.acknowledged(5, ms(1));
        for message in [1, 0, 3, 3, 2] {
            tally.received(message, ms(2));
        }
        tally.throttled(6);
        tally.refused(7);
        assert!(!tally.is_settled());
        let mut sums = Sums::default();
        sums.add(tally);
        assert_eq!((sums.due, sums.unsent, sums.sent), (8, 1, 7));
        assert_eq!(
            (
                sums.acknowledged,
                sums.throttled,
                sums.refused,
                sums.unanswered
            ),
            (4, 1, 1, 1)
        );
        assert_eq!(
            (sums.delivered, sums.lost, sums.duplicated, sums.reordered),
            (3, 1, 1, 2)
        );
        assert_eq!(sums.latencies.len(), 3);
        assert!(!sums.is_good());
    }

    #[test]
    fn what_was_not_due_yet_when_a_run_was_ended_is_not_missed() {
        let mut tally = Tally::new(1, 10);
        for message in 0..3 {
            tally.sent(message);
            tally.acknowledged(message, Duration::ZERO);
            tally.received(message, Duration::ZERO);
        }
        tally.cut(3);
        let mut sums = Sums::default();
        sums.add(tally);
        assert_eq!((sums.due, sums.is_good()), (2, true));
    }

    #[test]
    fn a_run_without_losses_is_good() {
        let mut tally = Tally::new(0, 2);
        for message in 0..2 {
            tally.sent(message);
            tally.acknowledged(message, Duration::ZERO);
            tally.received(message, Duration::ZERO);
        }
        assert!(tally.is_settled());
        let mut sums = Sums::default();
        sums.add(tally);
        assert!(sums.is_good());
    }
}
