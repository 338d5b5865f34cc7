//! Handler of `/overview`: all consumers counted by their health and by how their agents are, and one page of them in any
//! order.
//!
//! What a list of consumers cannot do in SQL (order by what waits, count by health) is done here in memory, on a snapshot of
//! all of them that is at most [`FRESH`] old and shared by whoever asks: ten people who look at the status page cost what
//! one does.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::actor::Actor;
use super::error::{ApiError, Code};
use super::{Context, json_response};
use crate::callers::Verb;
use crate::store::query::Query;
use crate::store::{Circumstances, Consumer, Store, assess};

mod request;
mod row;

use request::OverviewRequest;
use row::{Health, Item, KnownAgent, PresenceCounts, Row};

/// What the last look gave. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct OverviewCache(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    snapshot: Option<Snapshot>,
    /// When a look failed last, and how.
    failed: Option<(Instant, ApiError)>,
}

/// All consumers at one moment.
#[derive(Clone, Debug)]
struct Snapshot {
    rows: Arc<Vec<Row>>,
    taken: Instant,
    as_of: Timestamp,
    /// Consumers beyond [`MAX_CONSUMERS`].
    left_out: u64,
}

/// What is answered.
#[derive(Debug, Serialize)]
struct Overview<'a> {
    kind: &'static str,
    page: u64,
    size: usize,
    total: usize,
    as_of: Timestamp,
    stuck_after_seconds: u32,
    summary: Summary,
    items: Vec<Item<'a>>,
}

/// All consumers that the caller may see, whatever the page shows of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Summary {
    consumers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    well: u64,
    stuck: u64,
    away: u64,
    never: u64,
    presence: PresenceCounts,
    bundles: u64,
    waiting_to_send: u64,
    waiting_to_apply: u64,
    waiting_for_available: u64,
    waiting_for_deletion: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_waiting_since: Option<Timestamp>,
}

pub(super) async fn get<S: Store>(
    State(context): State<Context<S>>,
    Parameters(parameters): Parameters<Vec<(String, String)>>,
    actor: Actor,
) -> Result<Response, ApiError> {
    let request = OverviewRequest::parse(parameters)?;
    let scope = actor.scope(Verb::List).await?;
    if !scope.has_every_source() {
        return Err(ApiError::new(
            Code::Forbidden,
            "the overview counts the bundles of all sources, and the rules let you list those of some only",
        ));
    }
    let snapshot = context.overview.snapshot(&context).await?;
    let bound = context.clock.now() - SignedDuration::from_secs(request.stuck_after.into());
    let mut summary = Summary::default();
    let mut found: Vec<(&Row, Health)> = Vec::new();
    let rows = snapshot.rows.iter();
    for row in rows.filter(|row| scope.permits_consumer(&row.consumer.name)) {
        let health = row.health(bound);
        summary.add(row, health);
        if request.takes(row, health) {
            found.push((row, health));
        }
    }
    summary.left_out = Some(snapshot.left_out).filter(|count| scope.is_all() && *count > 0);
    request.sort(&mut found);
    let total = found.len();
    let page = found.into_iter().skip(request.offset()).take(request.size);
    let items: Vec<Item<'_>> = page.map(|(row, health)| row.item(health)).collect();
    let overview = Overview {
        kind: "Overview",
        page: request.page,
        size: items.len(),
        total,
        as_of: snapshot.as_of,
        stuck_after_seconds: request.stuck_after,
        summary,
        items,
    };
    // Strings, numbers, times and maps of strings always have a JSON form.
    let text = serde_json::to_vec(&overview).unwrap_or_default();
    Ok(json_response(StatusCode::OK, text))
}

// === impl OverviewCache ===

impl OverviewCache {
    /// One that is fresh; whoever comes while it is taken waits for the same, and gets the failure if it fails.
    async fn snapshot<S: Store>(&self, context: &Context<S>) -> Result<Snapshot, ApiError> {
        self.fresh(|| Snapshot::take(context)).await
    }

    async fn fresh<F>(&self, take: impl FnOnce() -> F) -> Result<Snapshot, ApiError>
    where
        F: Future<Output = Result<Snapshot, ApiError>>,
    {
        let came = Instant::now();
        let locked = timeout(PATIENCE, self.0.lock()).await;
        let mut kept = locked.map_err(|_| ApiError::busy("the overview is being read"))?;
        if let Some(snapshot) = &kept.snapshot
            && snapshot.taken.elapsed() < FRESH
        {
            return Ok(snapshot.clone());
        }
        // A look that ended while this one waited is its answer too: another would only wait as long again.
        if let Some((at, error)) = &kept.failed
            && *at > came
        {
            return Err(error.clone());
        }
        match take().await {
            Ok(snapshot) => {
                kept.failed = None;
                kept.snapshot = Some(snapshot.clone());
                Ok(snapshot)
            }
            Err(error) => {
                kept.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    async fn take<S: Store>(context: &Context<S>) -> Result<Self, ApiError> {
        let (taken, as_of) = (Instant::now(), context.clock.now());
        let _turn = context.lists.take().await?;
        let everybody = Query {
            filter: None,
            order: Vec::new(),
            offset: 0,
            limit: MAX_CONSUMERS,
        };
        let page = context.store.list_consumers(everybody).await?;
        let total = page.total;
        let consumers: Vec<Consumer> = page.rows.try_collect().await?;
        let names: Vec<_> = consumers.iter().map(|c| c.name.clone()).collect();
        let store = &context.store;
        let (mut presences, listening_since, mut loads) = tokio::try_join!(
            store.presences_of(names.clone()),
            store.listening_since(as_of),
            store.loads(names)
        )?;
        let left_out = total.saturating_sub(u64::from(MAX_CONSUMERS));
        let row = |consumer: Consumer| {
            let load = loads.remove(consumer.name.as_str()).unwrap_or_default();
            let presence = presences.remove(consumer.name.as_str());
            let agent = presence.map_or_else(KnownAgent::default, |presence| {
                let circumstances = Circumstances {
                    now: as_of,
                    listening_since,
                    waits: load.waits(),
                };
                KnownAgent::new(&presence, assess(&presence, circumstances), as_of)
            });
            Row {
                consumer,
                load,
                agent,
            }
        };
        Ok(Self {
            rows: Arc::new(consumers.into_iter().map(row).collect()),
            taken,
            as_of,
            left_out,
        })
    }
}

// === impl Summary ===

impl Summary {
    fn add(&mut self, row: &Row, health: Health) {
        let load = &row.load;
        self.consumers += 1;
        *match health {
            Health::Well => &mut self.well,
            Health::Stuck => &mut self.stuck,
            Health::Away => &mut self.away,
            Health::Never => &mut self.never,
        } += 1;
        self.presence.add(row.agent.state());
        self.bundles += load.bundles;
        self.waiting_to_send += load.waiting_to_send;
        self.waiting_to_apply += load.waiting_to_apply;
        self.waiting_for_available += load.waiting_for_available;
        self.waiting_for_deletion += load.waiting_for_deletion;
        let oldest = self.oldest_waiting_since.into_iter();
        self.oldest_waiting_since = oldest.chain(load.oldest_waiting_since).min();
    }
}

/// How old an answer may be. People read no faster, and a page asks every five seconds.
const FRESH: Duration = Duration::from_secs(2);

/// How long one waits for a look that another began: a turn of the lists, and what a search may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// As many as the longest page of a list has; some 400 bytes each are kept.
const MAX_CONSUMERS: u32 = 65_500;

#[cfg(test)]
mod tests;
