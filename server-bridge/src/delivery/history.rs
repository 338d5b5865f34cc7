//! What delivery does when an agent holds a newer version than the store: the store is older than its agents, and raises
//! the version above theirs ([`Store::raise`]), so that what it holds is taken again.
//!
//! Two bridges of one source, each with a store of its own, would outbid each other for ever: a bundle is raised a few
//! times at once and then ever less often, and the log says why. What is held back is not forgotten: the agent is asked for
//! its status when it may be raised again.

// Long because of what is said to people.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use link::error::chain;
use link::id::ConsumerName;
use link::order::Version;
use link::telemetry::clip;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Context;
use super::log::DeliveryLine;
use super::status_requests::{RequestCause, StatusRequests};
use crate::store::{AgentVersion, Epoch, Raised, Store, StoreError};

#[cfg(test)]
mod tests;

/// A bundle of which an agent holds a newer version.
#[derive(Clone, Debug)]
pub(super) struct Ahead {
    /// The bundle.
    pub(super) id: String,
    /// The version it holds.
    pub(super) held: Version,
    /// The version it has here.
    pub(super) stored: Version,
}

/// Which bundles were raised lately.
#[derive(Debug, Default)]
pub(super) struct Raises(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    bundles: HashMap<(ConsumerName, String), Raise>,
    /// When it was noted in the store that a consumer's agents hold what it does not know.
    noted: HashMap<ConsumerName, Instant>,
    /// Whether a consumer was doubted when the store was last asked, and when that was.
    looked: HashMap<ConsumerName, (bool, Instant)>,
    /// The present epoch, as far as this process has noticed.
    epoch: Option<String>,
    tidied: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Raise {
    at: Instant,
    times: u32,
}

/// Raises what may be raised now; the rest is asked for when it may be. Done again after a failure it does the same.
///
/// # Errors
/// The store failed.
pub(super) async fn raise<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    ahead: Vec<Ahead>,
) -> Result<(), StoreError> {
    let now = Instant::now();
    let (due, early): (Vec<_>, Vec<_>) = ahead
        .into_iter()
        .map(|bundle| (context.raises.due(consumer, &bundle.id, now), bundle))
        .partition(|(due, _)| due.is_none());
    for chunk in due.chunks(TOGETHER) {
        let held = chunk.iter().map(|(_, bundle)| AgentVersion {
            id: bundle.id.clone(),
            version: bundle.held,
        });
        let at = context.clock.now();
        let raising = context.store.raise(consumer, held.collect(), at).await?;
        if raising.doubted && raising.began.is_none() {
            doubted(context, consumer);
        }
        if let Some(epoch) = raising.began {
            has_begun(context, &epoch);
        }
        let (raised, exhausted): (Vec<_>, Vec<_>) = raising
            .bundles
            .into_iter()
            .partition(|bundle| bundle.to.is_some());
        for bundle in &raised {
            context.raises.note(consumer, &bundle.id, Instant::now());
        }
        say(context, consumer, &raised);
        say_exhausted(context, consumer, &exhausted);
    }
    hold_back(context, consumer, &early, now);
    Ok(())
}

/// Whether what the store does not know of a consumer may be of a time that it lost: then nothing is deleted for it.
///
/// # Errors
/// The store failed.
pub(super) async fn lost_some<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
) -> Result<bool, StoreError> {
    let doubts = context.store.doubts(consumer).await?;
    let lost = doubts.last(context.clock.now());
    if lost
        && let Some(held_back) = context
            .log
            .admit(DeliveryLine::Raised("unwanted"), Some(consumer))
    {
        warn!(
            %consumer, held_back,
            "The database was restored, moved or is older than this consumer's agents: works that are not known are left \
             alone for seven days, and until all of its bundles are confirmed, despite --delete-unknown-works"
        );
    }
    Ok(lost)
}

/// Notes that an agent holds a work that the store does not know, so that every replica knows it.
///
/// # Errors
/// The store failed.
pub(super) async fn holds_a_stranger<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
) -> Result<(), StoreError> {
    let now = Instant::now();
    if !context.raises.is_new(consumer, now) {
        return Ok(());
    }
    let at = context.clock.now();
    context.store.note_foreign_work(consumer, at).await?;
    context.raises.noted(consumer, now);
    Ok(())
}

/// A whole list of an agent whose first part came at `came` names nothing that the store does not know: what was said of its
/// consumer well before, such as by a status that came late, is over.
///
/// # Errors
/// The store failed.
pub(super) async fn holds_no_stranger<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    came: Timestamp,
) -> Result<(), StoreError> {
    if context.store.doubts(consumer).await?.foreign_works {
        // What any replica has heard since is noted later than this.
        let until = came - (SignedDuration::from_secs(NOTED.as_secs() as i64) + DRIFT);
        context.store.forget_foreign_works(consumer, until).await?;
        context.raises.forget_stranger(consumer);
    }
    Ok(())
}

/// A bundle went to its consumer for the first time. If its agent holds what the store does not know, or may do so because
/// the store was restored, this may be some of it, posted again: a Go agent drops that without a word where it holds a
/// newer version, so it is asked what it holds.
/// Where the store does not say, it is asked too: this is the only time at which it shows.
pub(super) async fn sent_first<S: Store>(context: &Context<S>, consumer: &ConsumerName) {
    let now = Instant::now();
    let ask = match context.raises.doubted(consumer, now) {
        Some(doubted) => doubted,
        None => match context
            .store_limiter
            .pass(context.store.doubts(consumer))
            .await
        {
            Ok(doubts) => {
                let doubted = doubts.foreign_works || doubts.last(context.clock.now());
                context.raises.looked(consumer, doubted, now);
                doubted
            }
            Err(_) => true,
        },
    };
    if ask {
        let requests = context.requests(consumer);
        requests.want_at(consumer, RequestCause::Stale, now + TAKEN, now);
    }
}

/// Looks now and then whether a new epoch has begun, whoever began it, and has everyone asked then.
pub(super) async fn watch<S: Store>(context: Context<S>, drain: CancellationToken) {
    let mut look = interval(LOOK);
    while drain.run_until_cancelled(look.tick()).await.is_some() {
        match context.store.epoch().await {
            Ok(epoch) => has_begun(&context, &epoch),
            Err(error) => {
                if let Some(held_back) = context.log.admit(DeliveryLine::Store, None) {
                    warn!(
                        held_back,
                        "Could not look for a new epoch yet: {}",
                        chain(&error)
                    );
                }
            }
        }
    }
}

/// Has everyone asked what they hold, once for each epoch but the one this process began with: then all are asked anyway.
fn has_begun<S: Store>(context: &Context<S>, epoch: &Epoch) {
    if context.raises.is_another(&epoch.id) {
        warn!(
            epoch = epoch.number,
            why = epoch.why,
            "A new epoch of the database begins: every consumer is asked what it holds"
        );
        let requests = context.requests.iter();
        requests.for_each(StatusRequests::want_everyone);
    }
}

/// Asks one consumer what it holds: of the others its agent's word says nothing.
fn doubted<S: Store>(context: &Context<S>, consumer: &ConsumerName) {
    if let Some(held_back) = context
        .log
        .admit(DeliveryLine::Raised("doubted"), Some(consumer))
    {
        warn!(
            %consumer, held_back,
            "The database is older than agents of this consumer: none of its bundles counts as confirmed until it has said what \
             it holds"
        );
    }
    let requests = context.requests(consumer);
    requests.want(consumer, RequestCause::Subscribed, Instant::now());
}

fn say<S: Store>(context: &Context<S>, consumer: &ConsumerName, raised: &[Raised]) {
    let Some(first) = raised.first() else { return };
    context.metrics.raised("raised", raised.len());
    if let Some(held_back) = context
        .log
        .admit(DeliveryLine::Raised("raised"), Some(consumer))
    {
        warn!(
            resource.id = %clip(&first.id, ID_BYTES), %consumer, bundles = raised.len(), held_back,
            "The cluster holds version {} of a bundle, newer than version {} of this database: the database is older than \
             its agents. What it holds is sent again as version {}", first.held, first.from,
            first.to.unwrap_or(first.held)
        );
    }
}

fn say_exhausted<S: Store>(context: &Context<S>, consumer: &ConsumerName, exhausted: &[Raised]) {
    let Some(first) = exhausted.first() else {
        return;
    };
    context.metrics.raised("exhausted", exhausted.len());
    if let Some(held_back) = context
        .log
        .admit(DeliveryLine::Raised("exhausted"), Some(consumer))
    {
        error!(
            resource.id = %clip(&first.id, ID_BYTES), %consumer, bundles = exhausted.len(), held_back,
            hint = "delete the bundle, and post it again once it is gone",
            "The cluster holds version {} of a bundle, newer than version {} of this database, and no version above it exists",
            first.held, first.from
        );
    }
}

fn hold_back<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    early: &[(Option<Instant>, Ahead)],
    now: Instant,
) {
    let Some((_, first)) = early.first() else {
        return;
    };
    context.metrics.raised("held_back", early.len());
    if let Some(held_back) = context
        .log
        .admit(DeliveryLine::Raised("held_back"), Some(consumer))
    {
        warn!(
            resource.id = %clip(&first.id, ID_BYTES), %consumer, bundles = early.len(), held_back,
            hint = "let one bridge alone speak for a source: stop the other",
            "The cluster holds version {} of a bundle, newer than version {} of this database, although that was raised \
             above the cluster's several times lately: another bridge seems to speak for source `{}`",
            first.held, first.stored, context.config.source
        );
    }
    if let Some(due) = early.iter().filter_map(|(due, _)| *due).min() {
        let requests = context.requests(consumer);
        requests.want_at(consumer, RequestCause::Stale, due, now);
    }
}

// === impl Raises ===

impl Raises {
    /// When a bundle may be raised; `None` if it may be now.
    fn due(&self, consumer: &ConsumerName, id: &str, now: Instant) -> Option<Instant> {
        let lately = self.lock();
        let raise = lately.bundles.get(&(consumer.clone(), id.to_owned()))?;
        let due = raise.at + distance(raise.times);
        (due > now).then_some(due)
    }

    /// Notes that a bundle was raised.
    fn note(&self, consumer: &ConsumerName, id: &str, now: Instant) {
        let mut lately = self.lock();
        if lately.tidied.is_none_or(|at| now >= at + REMEMBERED) {
            lately.tidied = Some(now);
            lately.bundles.retain(|_, raise| now < forgotten(*raise));
        }
        let raise = lately
            .bundles
            .entry((consumer.clone(), id.to_owned()))
            .or_insert(Raise { at: now, times: 0 });
        if now >= forgotten(*raise) {
            raise.times = 0;
        }
        raise.at = now;
        raise.times = raise.times.saturating_add(1);
    }

    /// Whether the store does not know yet, for all this process knows, that a consumer's agents hold what it does not know.
    fn is_new(&self, consumer: &ConsumerName, now: Instant) -> bool {
        let lately = self.lock();
        let noted = lately.noted.get(consumer);
        noted.is_none_or(|at| now >= *at + NOTED)
    }

    fn noted(&self, consumer: &ConsumerName, now: Instant) {
        let mut lately = self.lock();
        if lately.noted.len() >= CONSUMERS {
            lately.noted.clear();
        }
        lately.noted.insert(consumer.clone(), now);
        lately.looked.remove(consumer);
    }

    /// What was noted or looked up of a consumer is not so any more.
    fn forget_stranger(&self, consumer: &ConsumerName) {
        let mut lately = self.lock();
        lately.noted.remove(consumer);
        lately.looked.remove(consumer);
    }

    /// Whether a consumer is doubted, if the store was asked a moment ago.
    fn doubted(&self, consumer: &ConsumerName, now: Instant) -> Option<bool> {
        let lately = self.lock();
        let (doubted, at) = *lately.looked.get(consumer)?;
        (now < at + LOOKED).then_some(doubted)
    }

    fn looked(&self, consumer: &ConsumerName, doubted: bool, now: Instant) {
        let mut lately = self.lock();
        if lately.looked.len() >= CONSUMERS {
            lately.looked.clear();
        }
        lately.looked.insert(consumer.clone(), (doubted, now));
    }

    /// Whether this epoch is another one than the last that was noticed.
    fn is_another(&self, epoch: &str) -> bool {
        let mut lately = self.lock();
        let known = lately.epoch.as_deref();
        let another = known.is_some_and(|known| known != epoch);
        if known != Some(epoch) {
            lately.epoch = Some(epoch.to_owned());
        }
        another
    }

    fn lock(&self) -> MutexGuard<'_, Lately> {
        // Every change under the lock is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forgotten(raise: Raise) -> Instant {
    raise.at + REMEMBERED.max(2 * distance(raise.times))
}

fn distance(times: u32) -> Duration {
    match times.checked_sub(AT_ONCE) {
        None => Duration::ZERO,
        Some(more) => FIRST.saturating_mul(1 << more.min(16)).min(LONGEST),
    }
}

/// What was on its way while an older database was put back may show a still newer version once or twice.
const AT_ONCE: u32 = 3;
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
// A whole region of 200 000 bundles that is raised at once is remembered for this long: about 30 MB.
const REMEMBERED: Duration = Duration::from_secs(600);

// An agent that takes it says so sooner.
const TAKEN: Duration = Duration::from_secs(2);

// Between two looks for a new epoch: one row.
const LOOK: Duration = Duration::from_secs(30);

// A bulk of new bundles is one look at what is doubted of their consumer. What is noted outlives a process anyway.
const LOOKED: Duration = Duration::from_secs(10);
const NOTED: Duration = Duration::from_secs(60);

// By which the clocks of replicas differ and a note comes late, with much to spare: what is doubted a little longer is asked for.
const DRIFT: SignedDuration = SignedDuration::from_secs(60);

// As many as a store of this size has; with more it is only looked again. 100 bytes each.
const CONSUMERS: usize = 100_000;

// One transaction of a few statements, milliseconds each, in which their rows are locked.
const TOGETHER: usize = 500;

// What an agent sends is shown by its beginning.
const ID_BYTES: usize = 253;
