//! Metrics of bundles that wait on their way to being applied, by hop, and once a minute a log line with the consumers for
//! which they wait too long.
//!
//! One of several replicas looks, the one that sends for [`LOOKS`], because a look reads the whole ledger. What it costs is
//! bounded: after a look that took long the next one waits [`REST`] times as long.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use link::error::chain;
use link::id::ConsumerName;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Context;
use super::log::DeliveryLine;
use crate::store::{Hop, Longest, NAMED, Store, UNHEARD, UnsentHead, Waiting};

/// Metrics of what waits. Labels are hops; consumers are never labels.
#[derive(Clone, Debug)]
pub(super) struct WaitingMetrics {
    consumers: IntGauge,
    bundles: IntGauge,
    waiting_bundles: IntGaugeVec,
    waiting_consumers: IntGaugeVec,
    oldest_seconds: IntGaugeVec,
    unheard: IntGaugeVec,
    done: IntCounter,
    failed: IntCounter,
}

/// Since when each of the longest waiting bundles has been in the outbox. The store does not say: a bundle that an agent
/// asks for once more was changed long ago.
#[derive(Debug, Default)]
struct Outbox {
    since: HashMap<Wait, (Timestamp, String)>,
    looked_at: Option<Timestamp>,
}

/// One stay in the outbox: row, version, whether it is deleted, and when the broker took it before.
type Wait = (i64, i64, bool, Option<Timestamp>);

// === impl WaitingMetrics ===

impl WaitingMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let consumers = IntGauge::new(
            "bridge_consumers",
            "Registered consumers; 0 at replicas that do not look",
        )?;
        let bundles = IntGauge::new(
            "bridge_bundles",
            "Bundles, those being deleted too; 0 at replicas that do not look",
        )?;
        let waiting_bundles = IntGaugeVec::new(
            Opts::new(
                "bridge_waiting_bundles",
                "Bundles that wait on their way, by hop: unsent, the broker has not acknowledged them; silent, it has, and nothing was heard of their consumer since; unanswered, their agent, which talks, has not reported on this version or confirmed the deletion; unapplied, it has reported and not that it is applied, or not any more; unavailable, it says that it is applied and not that it is available",
            ),
            &["hop"],
        )?;
        let waiting_consumers = IntGaugeVec::new(
            Opts::new(
                "bridge_waiting_consumers",
                "Consumers for which a bundle waits, by hop",
            ),
            &["hop"],
        )?;
        let oldest_seconds = IntGaugeVec::new(
            Opts::new(
                "bridge_waiting_oldest_seconds",
                "For how long the bundle has waited that waits longest, by hop; 0 when none does",
            ),
            &["hop"],
        )?;
        let unheard = IntGaugeVec::new(
            Opts::new(
                "bridge_consumers_unheard",
                "Consumers that were not heard of, asked or not, by for how long at least: 10m, 1h, 1d; never, not once",
            ),
            &["longer_than"],
        )?;
        let looks = IntCounterVec::new(
            Opts::new(
                "bridge_waiting_looks_total",
                "Looks at what waits, by outcome: done, failed. Only one replica looks",
            ),
            &["outcome"],
        )?;
        for hop in Hop::ALL {
            for gauge in [&waiting_bundles, &waiting_consumers, &oldest_seconds] {
                gauge.with_label_values(&[hop.as_str()]);
            }
        }
        for (label, _) in UNHEARD {
            unheard.with_label_values(&[label]);
        }
        unheard.with_label_values(&[NEVER]);
        registry.register(Box::new(unheard.clone()))?;
        registry.register(Box::new(consumers.clone()))?;
        registry.register(Box::new(bundles.clone()))?;
        registry.register(Box::new(waiting_bundles.clone()))?;
        registry.register(Box::new(waiting_consumers.clone()))?;
        registry.register(Box::new(oldest_seconds.clone()))?;
        registry.register(Box::new(looks.clone()))?;
        Ok(Self {
            consumers,
            bundles,
            waiting_bundles,
            waiting_consumers,
            oldest_seconds,
            unheard,
            done: looks.with_label_values(&["done"]),
            failed: looks.with_label_values(&["failed"]),
        })
    }

    fn show(&self, waiting: &Waiting, unsent_since: Option<Timestamp>, now: Timestamp) {
        self.consumers.set(whole(waiting.consumers));
        self.bundles.set(whole(waiting.bundles));
        for ((label, _), count) in UNHEARD.iter().zip(waiting.unheard.longer) {
            self.unheard.with_label_values(&[label]).set(whole(count));
        }
        let never = whole(waiting.unheard.never);
        self.unheard.with_label_values(&[NEVER]).set(never);
        for hop in Hop::ALL {
            let waits = waiting.at(hop);
            let label = &[hop.as_str()];
            self.waiting_bundles
                .with_label_values(label)
                .set(whole(waits.bundles));
            self.waiting_consumers
                .with_label_values(label)
                .set(whole(waits.consumers));
            let oldest = match hop {
                Hop::Unsent => unsent_since,
                Hop::Silent | Hop::Unanswered | Hop::Unapplied | Hop::Unavailable => waits.oldest,
            };
            let seconds = oldest.map_or(0, |since| now.duration_since(since).as_secs().max(0));
            self.oldest_seconds.with_label_values(label).set(seconds);
        }
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

// === impl Outbox ===

impl Outbox {
    /// The rows that have waited since before the last look.
    fn known(&self) -> Vec<i64> {
        let stayed = self
            .since
            .iter()
            .filter(|(_, (since, _))| self.looked_at.is_some_and(|looked_at| *since < looked_at));
        stayed.map(|(wait, _)| wait.0).collect()
    }

    /// Takes note of what is in the outbox. What was changed since the last look came with that change; anything else
    /// that was not there has just come back.
    fn see(&mut self, heads: Vec<UnsentHead>, now: Timestamp) {
        let looked_at = self.looked_at.replace(now);
        let known = std::mem::take(&mut self.since);
        self.since = heads
            .into_iter()
            .map(|head| {
                let id = (head.key, head.version, head.deleting, head.acked_at);
                let came = match known.get(&id) {
                    Some((since, _)) => *since,
                    None if looked_at.is_some_and(|last| head.changed_at > last) => {
                        head.changed_at.min(now)
                    }
                    None => now,
                };
                (id, (came, head.consumer))
            })
            .collect();
    }

    /// Since when the oldest has been there.
    fn oldest(&self) -> Option<Timestamp> {
        self.since.values().map(|(since, _)| *since).min()
    }

    /// The consumers whose bundles have been there too long, the longest first.
    fn overdue(&self, now: Timestamp) -> Vec<Longest> {
        let mut found: HashMap<&str, Longest> = HashMap::new();
        for (since, consumer) in self.since.values() {
            if now.duration_since(*since) > UNSENT_LIMIT {
                let one = found.entry(consumer).or_insert_with(|| Longest {
                    consumer: consumer.clone(),
                    hop: Hop::Unsent,
                    bundles: 0,
                    since: *since,
                });
                one.bundles += 1;
                one.since = one.since.min(*since);
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by(|a, b| (a.since, &a.consumer).cmp(&(b.since, &b.consumer)));
        found.truncate(NAMED);
        found
    }
}

/// Looks until `drain` is cancelled.
pub(super) async fn run<S: Store>(context: Context<S>, drain: CancellationToken) {
    let Ok(looks) = ConsumerName::new(LOOKS) else {
        return;
    };
    let metrics = &context.metrics.waiting;
    let mut outbox = Outbox::default();
    let mut pause = EVERY;
    while drain.run_until_cancelled(sleep(pause)).await.is_some() {
        pause = EVERY;
        let ownership = &context.config.ownership;
        if ownership.fence(&looks).is_err() {
            // Another replica says it.
            metrics.show(&Waiting::default(), None, context.clock.now());
            outbox = Outbox::default();
            continue;
        }
        let (began, now) = (Instant::now(), context.clock.now());
        let Some(answer) = drain
            .run_until_cancelled(context.store.waiting(now, outbox.known()))
            .await
        else {
            return;
        };
        pause = (began.elapsed() * REST).clamp(EVERY, SELDOM);
        match answer {
            Ok(mut waiting) => {
                outbox.see(std::mem::take(&mut waiting.unsent), now);
                metrics.show(&waiting, outbox.oldest(), now);
                metrics.done.inc();
                tell(&context, &waiting, &outbox, now);
            }
            Err(error) => {
                // The gauges keep what they said last.
                metrics.failed.inc();
                if let Some(held_back) = context.log.admit(DeliveryLine::Store, None) {
                    warn!(held_back, "Could not look at what waits: {}", chain(&error));
                }
            }
        }
    }
}

/// Names those that wait too long.
fn tell<S: Store>(context: &Context<S>, waiting: &Waiting, outbox: &Outbox, now: Timestamp) {
    let unsent = outbox.overdue(now);
    let overdue = waiting.longest.iter().filter(|one| is_overdue(one, now));
    let names: Vec<String> = unsent
        .iter()
        .chain(overdue)
        .map(|one| {
            format!(
                "{} ({}, {} since {})",
                one.consumer,
                one.hop.as_str(),
                one.bundles,
                one.since
            )
        })
        .collect();
    if names.is_empty() {
        return;
    }
    if let Some(held_back) = context.log.admit(DeliveryLine::Waiting, None) {
        warn!(
            held_back,
            hint = "`server-bridge explain CONSUMER` says why, and what would move them",
            "Bundles wait for too long; the consumers that wait longest: {}",
            names.join(", ")
        );
    }
}

/// Whether this has waited too long after the outbox.
fn is_overdue(one: &Longest, now: Timestamp) -> bool {
    match one.hop {
        Hop::Silent => true,
        // The outbox knows better since when.
        Hop::Unsent => false,
        // What is applied may take as long as it likes.
        Hop::Unavailable => false,
        Hop::Unanswered | Hop::Unapplied => now.duration_since(one.since) > APPLY_LIMIT,
    }
}

/// The replica that sends to a consumer of this name, if there were one, looks for all: one bucket, always the same.
pub(super) const LOOKS: &str = "waiting";

/// With a scrape each 15 s and rules evaluated each 10 s, what waits for 30 s is told within 60 s.
const EVERY: Duration = Duration::from_secs(5);

// Five per cent of a connection, and of a core of the database, at most.
pub(super) const REST: u32 = 20;

// A look that takes its deadline of five seconds is still made this often.
pub(super) const SELDOM: Duration = Duration::from_secs(100);

// Of `bridge_consumers_unheard`.
const NEVER: &str = "never";

// The limits of the alerts BundleUnsent and BundleNotApplied.
const UNSENT_LIMIT: SignedDuration = SignedDuration::from_secs(30);
const APPLY_LIMIT: SignedDuration = SignedDuration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + second).unwrap()
    }

    fn head(key: i64, changed: i64) -> UnsentHead {
        UnsentHead {
            key,
            consumer: format!("c{key}"),
            version: 1,
            deleting: false,
            changed_at: at(changed),
            acked_at: None,
        }
    }

    fn oldest(outbox: &mut Outbox, heads: &[UnsentHead], second: i64) -> Option<Timestamp> {
        outbox.see(heads.to_vec(), at(second));
        outbox.oldest()
    }

    #[test]
    fn a_bundle_waits_since_it_came_into_the_outbox_and_not_since_it_was_made() {
        let outbox = &mut Outbox::default();
        // Nobody knows for how long it was there before this process began to look.
        assert_eq!(oldest(outbox, &[head(1, -9_000)], 0), Some(at(0)));
        // A new one came with its change; the first still waits.
        let heads = [head(1, -9_000), head(2, 3)];
        assert_eq!(oldest(outbox, &heads, 5), Some(at(0)));
        assert_eq!(oldest(outbox, &[head(2, 3)], 10), Some(at(3)));
        // An old one is asked for once more: it has just come back.
        assert_eq!(oldest(outbox, &[head(1, -9_000)], 15), Some(at(15)));
        assert_eq!(oldest(outbox, &[head(1, -9_000)], 20), Some(at(15)));
        // The next version of it is another wait.
        let next = UnsentHead {
            version: 2,
            ..head(1, 22)
        };
        assert_eq!(oldest(outbox, &[next], 25), Some(at(22)));
        assert_eq!(oldest(outbox, &[], 30), None);
    }

    #[test]
    fn what_is_sent_and_asked_for_again_at_each_look_is_neither_known_nor_overdue() {
        let mut outbox = Outbox::default();
        for second in 0..100 {
            let again = UnsentHead {
                acked_at: Some(at(second)),
                ..head(1, -9_000)
            };
            outbox.see(vec![again, head(2, -9_000)], at(second));
        }
        assert_eq!(outbox.known(), [2]);
        let overdue = outbox.overdue(at(99));
        let names: Vec<_> = overdue.iter().map(|one| one.consumer.as_str()).collect();
        assert_eq!(names, ["c2"]);
        assert!(outbox.overdue(at(30)).is_empty());
    }
}
