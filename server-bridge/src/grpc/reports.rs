//! Reads the present report of a bundle and encodes it as an event, once for all streams that want the same.
//!
//! **Invariant:** what is remembered is given only to who wants no newer one: a report read at mark n has everything that
//! was marked up to n ([`Hub::present_mark`]). A repetition is a mark of its own, so that it tells what the bundle carries
//! now; what is read for it serves those that asked before.
//! **Invariant:** at most [`READS`] reads of news are under way for all streams, and besides [`REPEATS`] of what is told
//! once more and [`PAGES`] of what there is to tell: a thousand clients that connect again take little of the store, and
//! nobody's news wait for them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::backlog::Wanted;
use super::hub::Hub;
use super::proto::CloudEvent;
use super::wire::status_event;
use crate::store::{Report, ReportCursor, ReportPage, SourceName, Store, StoreError};
use jiff::Timestamp;
use link::id::ConsumerName;

/// Reads reports. Clones share what they remember.
#[derive(Clone, Debug)]
pub(super) struct Reports<S> {
    store: S,
    hub: Hub,
    limits: Arc<ReadLimits>,
    known: Arc<Mutex<Known>>,
}

/// How many may read at once.
#[derive(Debug)]
struct ReadLimits {
    news: Semaphore,
    repeats: Semaphore,
    pages: Semaphore,
}

/// A report as it is sent.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) source: SourceName,
    pub(super) consumer: ConsumerName,
    pub(super) status_hash: Option<String>,
    /// None when it has no place in the agent's order.
    pub(super) event: Option<CloudEvent>,
}

/// What was read lately, in the order in which it was read.
#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<Arc<str>, (u64, Arc<Present>, usize)>,
    order: VecDeque<(u64, Arc<str>)>,
    bytes: usize,
}

// === impl Reports ===

impl<S: Store> Reports<S> {
    pub(super) fn new(store: S, hub: Hub) -> Self {
        Self {
            store,
            hub,
            limits: Arc::new(ReadLimits {
                news: Semaphore::new(READS),
                repeats: Semaphore::new(REPEATS),
                pages: Semaphore::new(PAGES),
            }),
            known: Arc::default(),
        }
    }

    /// The present report of a bundle, not older than the mark that is wanted.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn present(
        &self,
        id: &Arc<str>,
        wanted: &Wanted,
    ) -> Result<Option<Arc<Present>>, StoreError> {
        if let Some(known) = self.known(id, wanted.mark) {
            return Ok(Some(known));
        }
        let _permit = if wanted.repeated {
            permit(&self.limits.repeats).await?
        } else {
            permit(&self.limits.news).await?
        };
        // Somebody else may have read it meanwhile.
        if let Some(known) = self.known(id, wanted.mark) {
            return Ok(Some(known));
        }
        let as_of = self.hub.present_mark();
        let Some(report) = self.store.report(id).await? else {
            return Ok(None);
        };
        let present = Arc::new(Present::new(&report));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remember(id, as_of, present.clone());
        Ok(Some(present))
    }

    /// A page of what was reported of a source since then.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn since(
        &self,
        source: &SourceName,
        since: Timestamp,
        after: Option<ReportCursor>,
        limit: u32,
    ) -> Result<ReportPage, StoreError> {
        let _permit = permit(&self.limits.pages).await?;
        self.store.reports_since(source, since, after, limit).await
    }

    fn known(&self, id: &Arc<str>, mark: u64) -> Option<Arc<Present>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (as_of, present, _) = known.by_id.get(id)?;
        (*as_of >= mark).then(|| present.clone())
    }
}

async fn permit(limits: &Semaphore) -> Result<SemaphorePermit<'_>, StoreError> {
    limits.acquire().await.map_err(|_| StoreError::Closed)
}

// === impl Present ===

impl Present {
    fn new(report: &Report) -> Self {
        Self {
            source: report.source.clone(),
            consumer: report.consumer_name.clone(),
            status_hash: report.status_hash.clone(),
            event: status_event(report),
        }
    }
}

// === impl Known ===

impl Known {
    fn remember(&mut self, id: &Arc<str>, as_of: u64, present: Arc<Present>) {
        if self.by_id.get(id).is_some_and(|(known, ..)| *known > as_of) {
            return;
        }
        let bytes = present.event.as_ref().map_or(0, CloudEvent::encoded_len) + ENTRY_BYTES;
        if let Some((_, _, before)) = self.by_id.insert(id.clone(), (as_of, present, bytes)) {
            self.bytes -= before;
        }
        self.bytes += bytes;
        self.order.push_back((as_of, id.clone()));
        while self.bytes > KNOWN_BYTES || self.order.len() > KNOWN {
            let Some((as_of, id)) = self.order.pop_front() else {
                return;
            };
            // Read again since: then it has a later place.
            if self
                .by_id
                .get(&id)
                .is_some_and(|(known, ..)| *known == as_of)
                && let Some((_, _, bytes)) = self.by_id.remove(&id)
            {
                self.bytes -= bytes;
            }
        }
    }
}

// As many as two lanes of delivery have under way; one takes about a millisecond.
const READS: usize = 8;

// Half as many, so that the store serves others meanwhile.
const REPEATS: usize = 4;

// Each looks at many bundles.
const PAGES: usize = 2;

// What streams of one source want at about the same time. 16 MiB are 64 of the longest events, 10 000 of usual ones.
const KNOWN: usize = 4096;
const KNOWN_BYTES: usize = 16 * 1024 * 1024;
const ENTRY_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn present() -> Arc<Present> {
        Arc::new(Present {
            source: SourceName::new("a").unwrap(),
            consumer: ConsumerName::new("c").unwrap(),
            status_hash: None,
            event: None,
        })
    }

    #[test]
    fn what_is_remembered_is_bounded_and_an_older_report_replaces_no_newer_one() {
        let mut known = Known::default();
        let a: Arc<str> = "a".into();
        known.remember(&a, 5, present());
        known.remember(&a, 3, present());
        assert_eq!(known.by_id[&a].0, 5);
        for mark in 6..10_000 {
            known.remember(&a, mark, present());
        }
        assert_eq!(known.bytes, ENTRY_BYTES);
        for number in 0..KNOWN {
            known.remember(&format!("b{number}").into(), 10_000, present());
        }
        assert_eq!(known.by_id.len(), KNOWN);
        assert!(!known.by_id.contains_key(&a) && known.order.len() == KNOWN);
        assert_eq!(known.bytes, KNOWN * ENTRY_BYTES);
    }
}
