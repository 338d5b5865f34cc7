//! Says that this bridge hears agents, and counts once a minute how they are: metrics, and a log line that names those that
//! went and came back.
//!
//! Every bridge that is subscribed says so, because silence counts as absence only while somebody listens
//! ([`crate::store::PresenceStore::note_listening`]). One of several replicas counts, the one that looks at what waits; after
//! a look that took long the next one waits [`REST`] times as long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use link::error::chain;
use link::id::ConsumerName;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Context;
use super::log::DeliveryLine;
use super::waiting::{LOOKS, REST, SELDOM};
use crate::store::{
    Circumstances, LISTENING_EVERY, Load, Presence, PresenceState, Store, StoreError, assess,
};

mod metrics;

pub(super) use metrics::PresenceMetrics;

/// What a look has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    states: BTreeMap<PresenceState, u64>,
    /// Agents that report, by release.
    versions: BTreeMap<String, u64>,
    /// When the first certificate of an agent ends.
    expiry: Option<Timestamp>,
    /// Agents whose certificate ends within each of [`WITHIN`].
    expiring: [u64; WITHIN.len()],
    /// Agents that report refusals, and how many these are.
    refusing: u64,
    refusals: u64,
    /// Who is away.
    away: BTreeSet<ConsumerName>,
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, presence: &Presence, circumstances: Circumstances) {
        let state = assess(presence, circumstances).state;
        *self.states.entry(state).or_default() += 1;
        if state == PresenceState::Away {
            self.away.insert(presence.consumer.clone());
        }
        let Some(report) = presence.current_report(circumstances.now) else {
            return;
        };
        *self.versions.entry(report.version.clone()).or_default() += 1;
        self.refusing += u64::from(presence.refusals > 0);
        self.refusals += presence.refusals;
        if let Some(certificate) = &report.certificate {
            let end = certificate.not_after;
            self.expiry = Some(self.expiry.map_or(end, |first| first.min(end)));
            for ((_, span), count) in WITHIN.iter().zip(&mut self.expiring) {
                *count += u64::from(end.duration_since(circumstances.now) <= *span);
            }
        }
    }

    /// The releases of most agents, and how many have others.
    fn versions(&self) -> (Vec<(&str, u64)>, u64) {
        let mut versions: Vec<_> = self
            .versions
            .iter()
            .map(|(version, agents)| (version.as_str(), *agents))
            .collect();
        versions.sort_by_key(|(_, agents)| std::cmp::Reverse(*agents));
        let others = versions.split_off(VERSIONS.min(versions.len()));
        (versions, others.iter().map(|(_, agents)| agents).sum())
    }
}

/// Says that agents are heard, for as long as they are, until `drain` is cancelled.
pub(super) async fn listen<S: Store>(context: Context<S>, drain: CancellationToken) {
    let mut pause = Duration::ZERO;
    while drain.run_until_cancelled(sleep(pause)).await.is_some() {
        if !is_listening(&context) {
            pause = CONNECTING;
            continue;
        }
        pause = LISTENING_EVERY.unsigned_abs();
        let noted = context.store.note_listening(context.clock.now()).await;
        if let Err(error) = noted
            && let Some(held_back) = context.log.admit(DeliveryLine::Store, None)
        {
            warn!(
                held_back,
                "Could not note that agents are heard: {}",
                chain(&error)
            );
        }
    }
}

/// Whether a session is connected on which agents are heard.
fn is_listening<S: Store>(context: &Context<S>) -> bool {
    (0..context.pool.len())
        .filter(|index| context.config.listener(*index) == *index)
        .any(|index| context.pool.at(index).state().borrow().is_ready())
}

/// Looks until `drain` is cancelled.
pub(super) async fn run<S: Store>(context: Context<S>, drain: CancellationToken) {
    let Ok(looks) = ConsumerName::new(LOOKS) else {
        return;
    };
    let metrics = &context.metrics.presence;
    let mut away = None;
    let mut pause = FIRST;
    while drain.run_until_cancelled(sleep(pause)).await.is_some() {
        pause = EVERY;
        if context.config.ownership.fence(&looks).is_err() {
            // Another replica says it.
            metrics.show(&Counts::default(), context.clock.now());
            away = None;
            continue;
        }
        let (began, now) = (Instant::now(), context.clock.now());
        let Some(answer) = drain.run_until_cancelled(look(&context.store, now)).await else {
            return;
        };
        pause = (began.elapsed() * REST).clamp(EVERY, SELDOM);
        match answer {
            Ok(counts) => {
                metrics.show(&counts, now);
                metrics.done.inc();
                if let Some(before) = away.replace(counts.away.clone()) {
                    tell(&before, &counts.away);
                }
            }
            Err(error) => {
                // The gauges keep what they said last.
                metrics.failed.inc();
                if let Some(held_back) = context.log.admit(DeliveryLine::Store, None) {
                    warn!(
                        held_back,
                        "Could not look at how agents are: {}",
                        chain(&error)
                    );
                }
            }
        }
    }
}

async fn look(store: &impl Store, now: Timestamp) -> Result<Counts, StoreError> {
    let listening_since = store.listening_since(now).await?;
    let mut counts = Counts::default();
    let mut after = None;
    loop {
        let page = store.presences(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(counts);
        };
        after = Some(last.consumer.clone());
        let names = page.iter().map(|one| one.consumer.clone()).collect();
        let loads = store.loads(names).await?;
        for presence in &page {
            let load = loads.get(presence.consumer.as_str());
            let circumstances = Circumstances {
                now,
                listening_since,
                waits: load.is_some_and(Load::waits),
            };
            counts.add(presence, circumstances);
        }
    }
}

/// Names those that went and came back since the last look.
fn tell(before: &BTreeSet<ConsumerName>, now: &BTreeSet<ConsumerName>) {
    let named = |some: &BTreeSet<ConsumerName>, without: &BTreeSet<ConsumerName>| {
        let changed: Vec<&str> = some.difference(without).map(ConsumerName::as_str).collect();
        let shown = changed[..changed.len().min(NAMED)].join(", ");
        (changed.len(), shown)
    };
    let (count, consumers) = named(now, before);
    if count > 0 {
        warn!(count, consumers, "Agents went away");
    }
    let (count, consumers) = named(before, now);
    if count > 0 {
        info!(count, consumers, "Agents are not away any more");
    }
}

/// Within which times the ends of certificates are counted, each with its metric label.
const WITHIN: [(&str, SignedDuration); 2] = [
    ("7d", SignedDuration::from_hours(7 * 24)),
    ("30d", SignedDuration::from_hours(30 * 24)),
];

/// Releases that have a series of their own. A region has two at a time; whatever agents say, there are no more series.
const VERSIONS: usize = 10;

// Consumers named in a line.
const NAMED: usize = 10;

// Rows in memory: reports without refusals have 20 KB at most, and usually less than one.
const PAGE: u32 = 500;

// Whether an agent is away shows after minutes, by missing reports.
const EVERY: Duration = Duration::from_secs(30);

// Soon after a start, when sessions are connected.
const FIRST: Duration = Duration::from_secs(10);

const CONNECTING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
