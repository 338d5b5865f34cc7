//! What `explain` asks for in SQLite: of an open store by the readers of searches with their deadline, because a consumer may
//! have many bundles, and of a file that a bridge may have open by a connection that can only read. A file that is damaged, or
//! is not the one at its path any more, tells nothing.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use link::id::ConsumerName;
use sqlx::{Connection as _, SqliteConnection};

use super::super::agents::SEEN_EVERY;
use super::super::facts::{
    BundleFacts, ConsumerFacts, ExplainStore, Found, KnownNames, LaneFacts, NAMES_LOOKED_AT,
    RAISED_SHOWN, Wanted,
};
use super::super::presence::is_ahead;
use super::super::sql::facts::{
    NAMED, NEWEST_BUNDLES, NEWEST_CONSUMERS, OwnFacts, PLACE, RAISED, known_names, oldest,
    read_place, read_raised,
};
use super::super::{LedgerEntry, OpenError, StoreError};
use super::overview::{connect, failed_at, is_there, tables};
use super::rows::{self, driver};
use super::{SqliteStore, bundles, consumers, history, presence, progress, status};

impl ExplainStore for SqliteStore {
    async fn bundle_facts(
        &self,
        reference: &str,
        now: Timestamp,
    ) -> Result<Option<BundleFacts>, StoreError> {
        self.reading()?;
        self.health.writable()?;
        let reference = reference.to_owned();
        let read = self.searches.run(LOOK, move |c| {
            Box::pin(async move { bundle(c, &reference, now).await })
        });
        self.health.noted(read.await)
    }

    async fn bundle_named(&self, name: &str) -> Result<Option<String>, StoreError> {
        let found = sqlx::query_scalar(NAMED)
            .bind(name)
            .fetch_optional(self.reading()?)
            .await;
        self.health.noted(found.map_err(driver(LOOK)))
    }

    async fn consumer_facts(
        &self,
        name: &ConsumerName,
        now: Timestamp,
    ) -> Result<Option<ConsumerFacts>, StoreError> {
        self.reading()?;
        self.health.writable()?;
        let name = name.clone();
        let read = self.searches.run(LOOK, move |c| {
            Box::pin(async move { consumer(c, &name, now).await })
        });
        self.health.noted(read.await)
    }
}

/// Everything that `reference` may mean in a file.
pub(in crate::store) async fn find(
    file: &Path,
    reference: &str,
    wanted: Wanted,
    now: Timestamp,
) -> Result<Found, StoreError> {
    let failed = |source: OpenError| failed_at(file, source);
    is_there(file).map_err(|error| failed(error.into()))?;
    let connected = connect(file).await;
    let mut connection = connected.map_err(|error| failed(error.into()))?;
    let found = find_in(&mut connection, reference, wanted, now).await;
    let _ = connection.close().await;
    found.map_err(|error| match error {
        FindError::Open(source) => failed(source),
        FindError::Store(error) => error,
    })
}

enum FindError {
    Open(OpenError),
    Store(StoreError),
}

impl From<StoreError> for FindError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn find_in(
    connection: &mut SqliteConnection,
    reference: &str,
    wanted: Wanted,
    now: Timestamp,
) -> Result<Found, FindError> {
    let schema = tables(connection).await?;
    if let Some(error) = schema.unexplainable() {
        return Err(FindError::Open(error));
    }
    let mut found = Found::default();
    if wanted.bundle() {
        found.bundle = bundle(connection, reference, now).await?;
        if found.bundle.is_none() {
            found.tombstone = status::tombstone(&mut *connection, reference).await?;
        }
    }
    if wanted.consumer() {
        let mut there = consumers::by_id(&mut *connection, reference).await?;
        if there.is_none()
            && let Ok(name) = ConsumerName::new(reference)
        {
            there = consumers::by_name(&mut *connection, &name).await?;
        }
        if let Some(there) = there {
            found.consumer = consumer(connection, &there.name, now).await?;
        }
    }
    if found.is_nothing() {
        found.names = names(connection).await?;
    }
    Ok(found)
}

async fn bundle(
    connection: &mut SqliteConnection,
    reference: &str,
    now: Timestamp,
) -> Result<Option<BundleFacts>, StoreError> {
    let Some(own) = own(connection, reference).await? else {
        return Ok(None);
    };
    let name = own.bundle.consumer_name.clone();
    let lane = lane(connection, &name, now, std::slice::from_ref(&own)).await?;
    Ok(lane.map(|lane| own.on(lane)))
}

async fn own(
    connection: &mut SqliteConnection,
    reference: &str,
) -> Result<Option<OwnFacts>, StoreError> {
    let row = sqlx::query(PLACE)
        .bind(reference)
        .fetch_optional(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
    let Some(place) = row.as_ref().map(read_place).transpose()? else {
        return Ok(None);
    };
    let Some(mut bundle) = bundles::by_id(&mut *connection, &place.id).await? else {
        // It went meanwhile.
        return Ok(None);
    };
    let progress = progress::of(connection, &[place.key]).await?;
    bundle.progress = progress.into_values().next();
    Ok(Some(place.of(bundle)))
}

/// The lane of a consumer, for a story of these bundles of it.
async fn lane(
    connection: &mut SqliteConnection,
    name: &ConsumerName,
    now: Timestamp,
    of: &[OwnFacts],
) -> Result<Option<LaneFacts>, StoreError> {
    let Some(consumer) = consumers::by_name(&mut *connection, name).await? else {
        return Ok(None);
    };
    let mut last_status_at: Option<Timestamp> = None;
    let ledgers = of.iter().filter_map(|own| own.bundle.ledger.as_deref());
    // Every status of the consumer is looked at for it.
    if is_wanted(consumer.last_seen_at, now, ledgers.flatten()) {
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT MAX(s.stored_at) FROM statuses s JOIN bundles b ON b.key = s.bundle_key WHERE b.consumer_name = ?1",
        )
        .bind(name.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
        last_status_at = rows::moment(last, name.as_str())?;
    }
    Ok(Some(LaneFacts {
        consumer,
        last_status_at,
        presence: presence::one(&mut *connection, name).await?,
        listening_since: presence::since(&mut *connection, now).await?,
        listened_until: presence::until(connection).await?,
        lease: None,
    }))
}

/// Whether the last status says more of when an agent was heard than what was noted: where nothing was, or where the broker
/// took a version so soon afterwards that the agent may have spoken since without a note.
fn is_wanted<'l>(
    noted: Option<Timestamp>,
    now: Timestamp,
    mut ledger: impl Iterator<Item = &'l LedgerEntry>,
) -> bool {
    let Some(noted) = noted.filter(|noted| !is_ahead(*noted, now)) else {
        return true;
    };
    ledger.any(|entry| {
        let since = entry.acked_at.map(|acked| acked.duration_since(noted));
        since.is_some_and(|since| since.is_positive() && since <= UNNOTED)
    })
}

async fn consumer(
    connection: &mut SqliteConnection,
    name: &ConsumerName,
    now: Timestamp,
) -> Result<Option<ConsumerFacts>, StoreError> {
    let ids: Vec<String> = sqlx::query_scalar(OLDEST)
        .bind(name.as_str())
        .fetch_all(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
    let mut oldest = Vec::with_capacity(ids.len());
    for id in ids {
        oldest.extend(own(connection, &id).await?);
    }
    let Some(lane) = lane(connection, name, now, &oldest).await? else {
        return Ok(None);
    };
    let mut loads = progress::loads(connection, std::slice::from_ref(name)).await?;
    let raised = sqlx::query(RAISED)
        .bind(name.as_str())
        .bind(RAISED_SHOWN)
        .fetch_all(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
    let oldest = oldest.into_iter().map(|own| own.on(lane.clone()));
    Ok(Some(ConsumerFacts {
        load: loads.remove(name.as_str()).unwrap_or_default(),
        oldest: oldest.collect(),
        epoch: history::present(&mut *connection).await?,
        doubts: history::doubts(connection, name).await?,
        raised: read_raised(&raised)?,
        lane,
    }))
}

async fn names(connection: &mut SqliteConnection) -> Result<KnownNames, StoreError> {
    let bundles = sqlx::query(NEWEST_BUNDLES)
        .bind(NAMES_LOOKED_AT)
        .fetch_all(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
    let consumers = sqlx::query_scalar(NEWEST_CONSUMERS)
        .bind(NAMES_LOOKED_AT)
        .fetch_all(connection)
        .await
        .map_err(driver(LOOK))?;
    known_names(&bundles, consumers)
}

const OLDEST: &str = oldest!(
    "(SELECT s.version FROM statuses s WHERE s.bundle_key = t.key)",
    "MAX"
);

// A note is up to a minute and five seconds behind; some more for the clocks of two replicas.
const UNNOTED: SignedDuration = SignedDuration::from_secs(2 * SEEN_EVERY.as_secs());

const LOOK: &str = "read what is known of a bundle";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewConsumer, Store as _};

    #[tokio::test]
    async fn explain_waits_for_a_reader_of_searches_and_leaves_the_api_s_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("bridge.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let name = ConsumerName::new("c").unwrap();
        let new = NewConsumer {
            id: "c".into(),
            name: name.clone(),
            labels: crate::store::Labels::new(),
        };
        store.create_consumer(new, now).await.unwrap();
        // Every reader of the API is in use.
        let mut held = Vec::new();
        for _ in 0..store.api.options().get_max_connections() {
            held.push(store.api.acquire().await.unwrap());
        }
        let facts = store.consumer_facts(&name, now).await.unwrap();
        assert_eq!(facts.unwrap().lane.consumer.name, name);
        assert_eq!(store.bundle_facts("none", now).await.unwrap(), None);
        drop(held);
    }

    #[test]
    fn the_last_status_is_looked_for_where_a_note_may_be_behind_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let acked = |second| LedgerEntry {
            acked_at: Some(at(second)),
            attempts: 1,
            ..LedgerEntry::stored(link::order::Version::FIRST, false, at(0))
        };
        let wanted = |noted: Option<i64>, second| {
            is_wanted(noted.map(at), at(1_000), [acked(second)].iter())
        };
        assert!(wanted(None, 100));
        assert!(wanted(Some(2_000), 100), "the clock was ahead");
        assert!(wanted(Some(90), 100));
        assert!(!wanted(Some(100), 100) && !wanted(Some(110), 100));
        assert!(!wanted(Some(100), 500));
    }
}
