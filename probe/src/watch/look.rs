//! Fetches what is shown, and no more than that.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use link::clock::rfc3339_seconds;
use link::http::client::{ApiClient, ApiError, query};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::snapshot::{BundleRow, ClusterRow, Snapshot, Waits, stuck_before};
use super::view::{BUNDLES, View};
use crate::args::SortKey;

/// Looks at one region.
pub(super) struct Look {
    api: Arc<ApiClient>,
    stuck_after: Duration,
    // What this bridge does not have is not asked for again.
    knows_presence: bool,
    explains: bool,
    // The region's sums, and when they were asked for.
    sums: Option<(Instant, Waits)>,
}

// === impl Look ===

impl Look {
    pub(super) fn new(api: ApiClient, stuck_after: Duration) -> Self {
        Self {
            api: Arc::new(api),
            stuck_after,
            knows_presence: true,
            explains: true,
            sums: None,
        }
    }

    /// Where it looks.
    pub(super) fn address(&self) -> String {
        self.api.address().to_string()
    }

    /// One look at what the view shows.
    pub(super) async fn at(&mut self, view: &View, now: Timestamp) -> Result<Snapshot, ApiError> {
        let (bundles, stuck) = self.stuck(view, None, now).await?;
        let (rows, clusters) = match view.sort {
            _ if view.presence.is_some() => self.by_agent(view).await?,
            SortKey::Presence => self.by_agent(view).await?,
            SortKey::Waiting => self.worst_first(view, &bundles).await?,
            SortKey::Name => {
                self.page(view, None, "name", view.offset, view.rows)
                    .await?
            }
            SortKey::Seen => {
                self.page(view, None, "last_seen_at,name", view.offset, view.rows)
                    .await?
            }
        };
        let waiting = self.sums().await?;
        let (bundles, stuck) = match &view.cluster {
            Some(cluster) => self.stuck(view, Some(cluster), now).await?,
            None => (bundles, stuck),
        };
        let is_missing = match &view.cluster {
            Some(cluster) if rows.iter().all(|row| row.name != *cluster) => {
                let search = format!("name='{cluster}'");
                self.list(&search, "name", 1, 1).await?.1 == 0
            }
            _ => false,
        };
        Ok(Snapshot {
            at: now,
            is_missing,
            clusters,
            waiting,
            stuck,
            rows,
            bundles: bundles.into_iter().take(BUNDLES).collect(),
        })
    }

    /// Asks why the bundles on the screen wait, of all at once, and for [`EXPLAINED_WITHIN`] at most. What is not explained
    /// by then, or cannot be, keeps what its hop says.
    pub(super) async fn explain(&mut self, snapshot: &mut Snapshot) {
        if !self.explains {
            return;
        }
        let until = Instant::now() + EXPLAINED_WITHIN;
        let mut asked = JoinSet::new();
        for (number, bundle) in snapshot.bundles.iter().enumerate() {
            let api = Arc::clone(&self.api);
            let path = format!("/resource-bundles/{}/explain", bundle.id);
            asked.spawn(async move { (number, api.get(&path).await) });
        }
        while let Ok(Some(told)) = timeout_at(until, asked.join_next()).await {
            match told {
                Ok((number, Ok(story))) => {
                    if let Some(bundle) = snapshot.bundles.get_mut(number) {
                        bundle.explain(&story);
                    }
                }
                // The bundle may have gone meanwhile; a route that is not there says so in these words.
                Ok((_, Err(ApiError::NotFound { reason, .. }))) if is_no_route(&reason) => {
                    self.explains = false;
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The bundles that wait longest, of one cluster or of all that fit the filter, and how many are stuck.
    async fn stuck(
        &self,
        view: &View,
        cluster: Option<&str>,
        now: Timestamp,
    ) -> Result<(Vec<BundleRow>, u64), ApiError> {
        let before = rfc3339_seconds(stuck_before(now, self.stuck_after));
        let mut search = format!(
            "waiting_for in ('send','apply','available','deletion') and waiting_since<'{before}'"
        );
        if let Some(cluster) = cluster {
            search.push_str(&format!(" and consumer_name='{cluster}'"));
        } else if let Some(part) = &view.filter {
            search.push_str(&format!(" and consumer_name like '%{part}%'"));
        }
        let size = WAITING.to_string();
        let path = query(
            "/resource-bundles",
            &[
                ("size", &size),
                ("orderBy", "waiting_since"),
                ("fields", BUNDLE_FIELDS),
                ("search", &search),
            ],
        );
        let list = List::read(&path, self.api.get(&path).await?)?;
        Ok((list.rows(WAITING, BundleRow::of), list.total))
    }

    /// The clusters of the stuck bundles, the longest first, then others by name.
    async fn worst_first(
        &mut self,
        view: &View,
        bundles: &[BundleRow],
    ) -> Result<(Vec<ClusterRow>, u64), ApiError> {
        let mut names: Vec<&str> = Vec::new();
        for bundle in bundles {
            if !names.contains(&bundle.cluster.as_str()) {
                names.push(&bundle.cluster);
            }
        }
        let worst: Vec<&str> = names
            .iter()
            .copied()
            .skip(view.offset)
            .take(view.rows)
            .collect();
        let mut rows = Vec::new();
        if !worst.is_empty() {
            let listed: Vec<String> = worst.iter().map(|name| format!("'{name}'")).collect();
            let search = format!("name in ({})", listed.join(","));
            let (mut found, _) = self.list(&search, "name", 1, worst.len()).await?;
            found.sort_by_key(|row| worst.iter().position(|name| *name == row.name));
            rows = found;
        }
        let others = view.offset.saturating_sub(names.len());
        let free = view.rows.saturating_sub(rows.len());
        let except = names
            .iter()
            .map(|name| format!("'{name}'"))
            .collect::<Vec<_>>();
        let except = (!except.is_empty()).then(|| format!("name not in ({})", except.join(",")));
        // One at least, for how many there are.
        let (more, count) = self
            .page(view, except.as_deref(), "name", others, free.max(1))
            .await?;
        rows.extend(more.into_iter().take(free));
        Ok((rows, count.saturating_add(names.len() as u64)))
    }

    /// A window of the clusters by how their agents are, which lists do not know and the overview does.
    async fn by_agent(&self, view: &View) -> Result<(Vec<ClusterRow>, u64), ApiError> {
        let rows = view.rows;
        let (page, skip) = (view.offset / rows + 1, view.offset % rows);
        let (mut found, clusters) = self.overview(view, page).await?;
        if skip > 0 {
            found.extend(self.overview(view, page + 1).await?.0);
            found.drain(..skip.min(found.len()));
            found.truncate(rows);
        }
        Ok((found, clusters))
    }

    async fn overview(&self, view: &View, page: usize) -> Result<(Vec<ClusterRow>, u64), ApiError> {
        let (page, size) = (page.to_string(), view.rows.to_string());
        let order = match view.sort {
            SortKey::Waiting => "oldest_waiting_since",
            SortKey::Name => "name",
            SortKey::Seen => "last_seen_at",
            SortKey::Presence => "presence",
        };
        let mut parameters = vec![("page", page.as_str()), ("size", &size), ("orderBy", order)];
        if let Some(state) = view.presence {
            parameters.push(("presence", state.as_str()));
        }
        if let Some(part) = &view.filter {
            parameters.push(("name_contains", part));
        }
        let path = query("/overview", &parameters);
        let list = List::read(&path, self.api.get(&path).await?)?;
        Ok((list.rows(view.rows, ClusterRow::of_overview), list.total))
    }

    /// A window of the clusters that fit the filter, from pages of its size.
    async fn page(
        &mut self,
        view: &View,
        except: Option<&str>,
        order: &str,
        offset: usize,
        rows: usize,
    ) -> Result<(Vec<ClusterRow>, u64), ApiError> {
        let part = view
            .filter
            .as_ref()
            .map(|part| format!("name like '%{part}%'"));
        let search: Vec<&str> = part.as_deref().into_iter().chain(except).collect();
        let search = search.join(" and ");
        let (page, skip) = (offset / rows + 1, offset % rows);
        let (mut found, clusters) = self.list(&search, order, page, rows).await?;
        if skip > 0 {
            let (next, _) = self.list(&search, order, page + 1, rows).await?;
            found.extend(next);
            found.drain(..skip.min(found.len()));
            found.truncate(rows);
        }
        Ok((found, clusters))
    }

    async fn list(
        &mut self,
        search: &str,
        order: &str,
        page: usize,
        size: usize,
    ) -> Result<(Vec<ClusterRow>, u64), ApiError> {
        let most = size;
        let (page, size) = (page.to_string(), size.to_string());
        loop {
            let fields = match self.knows_presence {
                true => format!("{CLUSTER_FIELDS},presence"),
                false => CLUSTER_FIELDS.to_owned(),
            };
            let mut parameters = vec![
                ("page", page.as_str()),
                ("size", &size),
                ("orderBy", order),
                ("fields", &fields),
            ];
            if !search.is_empty() {
                parameters.push(("search", search));
            }
            let path = query("/consumers", &parameters);
            match self.api.get(&path).await {
                Ok(list) => {
                    let list = List::read(&path, list)?;
                    return Ok((list.rows(most, ClusterRow::of), list.total));
                }
                // An older bridge names the field that it does not know.
                Err(ApiError::Status {
                    status: 400,
                    reason,
                    ..
                }) if self.knows_presence && reason.contains("presence") => {
                    self.knows_presence = false;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How many bundles of the region wait at each hop: counted by the server, at a distance.
    async fn sums(&mut self) -> Result<Waits, ApiError> {
        if let Some((at, waits)) = self.sums
            && at.elapsed() < SUMS_EVERY
        {
            return Ok(waits);
        }
        let mut counts = [0; 4];
        for (count, hop) in counts.iter_mut().zip(Waits::HOPS) {
            let search = format!("waiting_for='{hop}'");
            let parameters = [("size", "1"), ("fields", "id"), ("search", &search)];
            let path = query("/resource-bundles", &parameters);
            *count = List::read(&path, self.api.get(&path).await?)?.total;
        }
        let waits = Waits::of(counts);
        self.sums = Some((Instant::now(), waits));
        Ok(waits)
    }
}

/// A list of the API's. Anything else, such as another server's `{}`, would look like a region without clusters.
struct List {
    items: Vec<Value>,
    total: u64,
}

// === impl List ===

impl List {
    fn read(path: &str, mut answer: Value) -> Result<Self, ApiError> {
        let total = answer.get("total").and_then(Value::as_u64);
        let items = answer.get_mut("items").map(Value::take);
        match (items, total) {
            (Some(Value::Array(items)), Some(total)) => Ok(Self { items, total }),
            _ => Err(ApiError::Foreign { path: path.into() }),
        }
    }

    /// Its rows, as many as were asked for: whoever answers with more is no server of ours.
    fn rows<T>(&self, most: usize, row: fn(&Value) -> T) -> Vec<T> {
        self.items.iter().take(most).map(row).collect()
    }
}

/// The API tells a route that it does not have from a thing that is not there by its reason.
fn is_no_route(reason: &str) -> bool {
    !reason.contains("ResourceBundle")
}

const CLUSTER_FIELDS: &str = "id,name,last_seen_at,bundles,waiting_to_send,waiting_to_apply,waiting_for_available,waiting_for_deletion,oldest_waiting_since";
const BUNDLE_FIELDS: &str = "id,name,consumer_name,version,waiting_for,waiting_since";

// Bundles that are read to find the clusters that wait longest: 300 bytes each. A search takes as many names.
const WAITING: usize = 200;

// An answer takes some milliseconds; a bridge that is busy with other things must not hold up the picture.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(5);

// Four counts over all bundles: up to half a second of the database of a large region.
const SUMS_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
