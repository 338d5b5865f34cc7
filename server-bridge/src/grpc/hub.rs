//! Registry of open streams by source, each with its backlog ([`Backlog`]).
//!
//! **Contract:** who adds (the feed, a resync request) never waits for who sends: a mark is a few map operations under a
//! lock that nobody holds across an await.
//! **Invariant:** a stream is told of bundles of its own source alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use link::bundle::resync::HeldStatus;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::{Backlog, NextEvent, WAITING, Wanted};
use crate::store::{ReportHead, SourceName};

/// All streams of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Hub(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    streams: Mutex<Streams>,
    /// How often something was marked; a report that is read at mark n has everything of marks up to n.
    mark: AtomicU64,
}

#[derive(Debug, Default)]
struct Streams {
    by_source: HashMap<SourceName, Vec<Arc<Inbox>>>,
    by_caller: HashMap<String, usize>,
    count: usize,
}

/// What comes for one stream.
#[derive(Debug, Default)]
struct Inbox {
    backlog: Mutex<Backlog>,
    wake: Notify,
}

/// A stream's place in the hub, which is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    hub: Hub,
    source: SourceName,
    caller: Option<String>,
    inbox: Arc<Inbox>,
}

/// There are as many streams as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StreamLimit {
    #[error("there are {STREAMS} streams already")]
    All,
    #[error("the source has {SOURCE_STREAMS} streams already")]
    Source,
    #[error("the caller has {CALLER_STREAMS} streams already")]
    Caller,
}

// === impl Hub ===

impl Hub {
    /// A place for a stream of this source; from now on it is told of everything that is marked. `caller` is `None` where
    /// nobody is asked.
    pub(super) fn join(
        &self,
        source: SourceName,
        caller: Option<&str>,
    ) -> Result<Subscription, StreamLimit> {
        let inbox = Arc::new(Inbox::default());
        let mut streams = lock(&self.0.streams);
        if streams.count >= STREAMS {
            return Err(StreamLimit::All);
        }
        if streams.by_source.get(&source).map_or(0, Vec::len) >= SOURCE_STREAMS {
            return Err(StreamLimit::Source);
        }
        if let Some(caller) = caller {
            let count = streams.by_caller.entry(caller.to_owned()).or_default();
            if *count >= CALLER_STREAMS {
                return Err(StreamLimit::Caller);
            }
            *count += 1;
        }
        streams.count += 1;
        let seats = streams.by_source.entry(source.clone()).or_default();
        seats.push(inbox.clone());
        drop(streams);
        Ok(Subscription {
            hub: self.clone(),
            source,
            caller: caller.map(str::to_owned),
            inbox,
        })
    }

    /// Something is reported of a bundle.
    pub(super) fn mark(&self, head: &ReportHead) {
        // Also when nobody listens: what is remembered of it would be told to the next who does.
        let mark = self.next_mark();
        let inboxes = self.inboxes(&head.source);
        let id: Arc<str> = head.id.as_str().into();
        for inbox in inboxes {
            inbox.add(&id, Wanted::news(mark, head.at));
        }
    }

    /// The streams of a source are to tell everything once more (`held` is empty), or what is in the list with another hash.
    pub(super) fn resync(&self, source: &SourceName, held: Vec<HeldStatus>) {
        let inboxes = self.inboxes(source);
        // More than may wait are told as everything is: from the store, a page at a time.
        if held.is_empty() || held.len() > WAITING / 2 {
            for inbox in inboxes {
                inbox.read_since(Timestamp::UNIX_EPOCH);
            }
            return;
        }
        let mark = self.next_mark();
        for held in held {
            let id: Arc<str> = held.resource_id.into();
            let wanted = Wanted {
                // Shared: it is as long as its sender likes, and there may be a thousand streams.
                unless: Some(held.status_hash.into()),
                ..Wanted::repeated(mark, Timestamp::UNIX_EPOCH)
            };
            for inbox in &inboxes {
                inbox.add(&id, wanted.clone());
            }
        }
    }

    /// All streams are to tell what was reported since then.
    pub(super) fn read_since(&self, since: Timestamp) {
        // What is remembered is of another history.
        self.next_mark();
        let inboxes: Vec<Arc<Inbox>> = {
            let streams = lock(&self.0.streams);
            streams.by_source.values().flatten().cloned().collect()
        };
        for inbox in inboxes {
            inbox.read_since(since);
        }
    }

    /// Whether there are no streams.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0.streams).count == 0
    }

    /// What a report that is read from now on has at least.
    pub(super) fn present_mark(&self) -> u64 {
        self.0.mark.load(Ordering::SeqCst)
    }

    /// A mark that nothing read so far satisfies: of a bundle the metadata and the content are told too, which a
    /// publication changes without a mark.
    fn next_mark(&self) -> u64 {
        self.0.mark.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn inboxes(&self, source: &SourceName) -> Vec<Arc<Inbox>> {
        let streams = lock(&self.0.streams);
        streams.by_source.get(source).cloned().unwrap_or_default()
    }
}

// === impl Inbox ===

impl Inbox {
    fn add(&self, id: &Arc<str>, wanted: Wanted) {
        lock(&self.backlog).add(id, wanted);
        self.wake.notify_one();
    }

    fn read_since(&self, since: Timestamp) {
        lock(&self.backlog).read_since(since);
        self.wake.notify_one();
    }
}

// === impl Subscription ===

impl Subscription {
    pub(super) fn source(&self) -> &SourceName {
        &self.source
    }

    /// What to do now.
    pub(super) fn next(&self, now: Instant) -> NextEvent {
        lock(&self.inbox.backlog).next(now)
    }

    /// See [`Backlog::done`].
    pub(super) fn done(&self, id: Arc<str>, sent: Option<Instant>) {
        lock(&self.inbox.backlog).done(id, sent);
    }

    /// Wants what was reported since then.
    pub(super) fn read_since(&self, since: Timestamp) {
        self.inbox.read_since(since);
    }

    /// What was taken to be told cannot be told now, and is wanted as before.
    pub(super) fn put_back(&self, id: Arc<str>, wanted: Wanted) {
        let mut backlog = lock(&self.inbox.backlog);
        backlog.put(&id, wanted);
        backlog.done(id, None);
    }

    /// Adds a page of what the store says was reported.
    pub(super) fn add<'h>(&self, page: impl Iterator<Item = &'h ReportHead>) {
        let mark = self.hub.next_mark();
        let mut backlog = lock(&self.inbox.backlog);
        for head in page.filter(|head| head.source == self.source) {
            backlog.put(&head.id.as_str().into(), Wanted::repeated(mark, head.at));
        }
    }

    /// Waits until something was added.
    pub(super) async fn changed(&self) {
        self.inbox.wake.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut streams = lock(&self.hub.0.streams);
        if let Some(seats) = streams.by_source.get_mut(&self.source) {
            seats.retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
            if seats.is_empty() {
                streams.by_source.remove(&self.source);
            }
        }
        if let Some(caller) = &self.caller
            && let Some(count) = streams.by_caller.get_mut(caller)
        {
            *count -= 1;
            if *count == 0 {
                streams.by_caller.remove(caller);
            }
        }
        streams.count -= 1;
    }
}

// Nothing under these locks panics half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Streams of all sources together: users open one for each cluster, and 256 connections are taken.
const STREAMS: usize = 4096;

/// Streams of one source, a quarter of all, and of one caller, which may speak for several.
const SOURCE_STREAMS: usize = STREAMS / 4;
const CALLER_STREAMS: usize = STREAMS / 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> SourceName {
        SourceName::new(name).unwrap()
    }

    fn head(id: &str, source: &str) -> ReportHead {
        ReportHead {
            id: id.into(),
            source: SourceName::new(source).unwrap(),
            at: Timestamp::UNIX_EPOCH,
            gone: false,
        }
    }

    fn next(seat: &Subscription) -> Option<String> {
        match seat.next(Instant::now()) {
            NextEvent::Send(id, _) => Some(id.to_string()),
            NextEvent::Read(since) => Some(format!("since {since}")),
            NextEvent::Wait(_) => None,
        }
    }

    #[tokio::test]
    async fn each_stream_of_a_source_is_told_and_none_of_another() {
        let hub = Hub::default();
        let (one, two) = (
            hub.join(source("a"), None).unwrap(),
            hub.join(source("a"), None).unwrap(),
        );
        let other = hub.join(source("b"), None).unwrap();
        hub.mark(&head("x", "a"));
        two.changed().await;
        assert_eq!(next(&one).as_deref(), Some("x"));
        assert_eq!(next(&two).as_deref(), Some("x"));
        assert_eq!(next(&other), None);
        // What the store would say of others does not count either.
        other.add([head("y", "a"), head("z", "b")].iter());
        assert_eq!((next(&other).as_deref(), next(&other)), (Some("z"), None));
        drop(one);
        assert_eq!(hub.inboxes(&source("a")).len(), 1);
        drop((two, other));
        assert_eq!(lock(&hub.0.streams).count, 0);
        assert!(lock(&hub.0.streams).by_source.is_empty());
    }

    #[tokio::test]
    async fn a_resync_asks_for_the_list_or_for_everything() {
        let hub = Hub::default();
        let seat = hub.join(source("a"), None).unwrap();
        hub.resync(&source("a"), Vec::new());
        assert_eq!(
            next(&seat),
            Some(format!("since {}", Timestamp::UNIX_EPOCH))
        );
        let held = |number: usize| HeldStatus {
            resource_id: format!("b{number}"),
            status_hash: "h".into(),
        };
        hub.resync(&source("b"), vec![held(0)]);
        assert_eq!(next(&seat), None);
        hub.resync(&source("a"), vec![held(1)]);
        assert_eq!(next(&seat).as_deref(), Some("b1"));
        hub.resync(&source("a"), (0..WAITING / 2).map(held).collect());
        assert_eq!(next(&seat).as_deref(), Some("b0"));
        let other = hub.join(source("a"), None).unwrap();
        hub.resync(&source("a"), (0..=WAITING / 2).map(held).collect());
        assert_eq!(
            next(&other),
            Some(format!("since {}", Timestamp::UNIX_EPOCH))
        );
    }

    #[test]
    fn streams_are_taken_up_to_their_numbers_and_refused_one_past() {
        let hub = Hub::default();
        let take = |name: &str, caller: Option<&str>, count: usize| -> Vec<Subscription> {
            let seats = (0..count).map(|_| hub.join(source(name), caller).unwrap());
            seats.collect()
        };
        let mut seats = take("a", Some("ann"), SOURCE_STREAMS);
        let join = |name: &str, caller| hub.join(source(name), caller).err();
        assert_eq!(join("a", Some("bob")), Some(StreamLimit::Source));
        seats.extend(take("b", Some("ann"), CALLER_STREAMS - SOURCE_STREAMS));
        assert_eq!(join("c", Some("ann")), Some(StreamLimit::Caller));
        seats.extend(take("c", None, SOURCE_STREAMS));
        seats.extend(take("d", None, STREAMS - CALLER_STREAMS - SOURCE_STREAMS));
        assert_eq!(join("e", None), Some(StreamLimit::All));
        seats.remove(0);
        assert_eq!(join("a", Some("ann")), None);
        seats.clear();
        assert!(lock(&hub.0.streams).by_caller.is_empty());
    }
}
