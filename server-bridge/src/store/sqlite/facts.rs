//! What `explain` asks for in SQLite: of an open store by its readers, and of a file that a bridge may have open by a
//! connection that can only read.

use std::path::Path;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::super::facts::{
    BundleFacts, ConsumerFacts, ExplainStore, Found, KnownNames, LaneFacts, NAMES_LOOKED_AT,
    RAISED_SHOWN, Wanted,
};
use super::super::sql::facts::{Place, oldest, place, raised, read_place, read_raised};
use super::super::sql::rows::Cells as _;
use super::super::{OpenError, StoreError};
use super::overview::{failed_at, missing, tables};
use super::rows::{self, driver};
use super::{SqliteStore, bundles, consumers, history, presence, progress, status};

impl ExplainStore for SqliteStore {
    async fn bundle_facts(
        &self,
        reference: &str,
        now: Timestamp,
    ) -> Result<Option<BundleFacts>, StoreError> {
        let found = bundle(self.reading()?, reference, now).await;
        self.health.noted(found)
    }

    async fn consumer_facts(
        &self,
        name: &ConsumerName,
        now: Timestamp,
    ) -> Result<Option<ConsumerFacts>, StoreError> {
        let found = consumer(self.reading()?, name, now).await;
        self.health.noted(found)
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
    if !file.exists() {
        return Err(failed(missing().into()));
    }
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .read_only(true);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(|error| failed(error.into()))?;
    let found = find_in(&pool, reference, wanted, now).await;
    pool.close().await;
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
    pool: &SqlitePool,
    reference: &str,
    wanted: Wanted,
    now: Timestamp,
) -> Result<Found, FindError> {
    let mut connection = pool.acquire().await.map_err(driver(LOOK))?;
    let schema = tables(&mut connection).await?;
    drop(connection);
    if let Some(error) = schema.unexplainable() {
        return Err(FindError::Open(error));
    }
    let mut found = Found::default();
    if wanted.bundle() {
        found.bundle = bundle(pool, reference, now).await?;
        if found.bundle.is_none() {
            found.tombstone = status::tombstone(pool, reference).await?;
        }
    }
    if wanted.consumer() {
        let mut there = consumers::by_id(pool, reference).await?;
        if there.is_none()
            && let Ok(name) = ConsumerName::new(reference)
        {
            there = consumers::by_name(pool, &name).await?;
        }
        if let Some(there) = there {
            found.consumer = consumer(pool, &there.name, now).await?;
        }
    }
    if found.is_nothing() {
        found.names = names(pool).await?;
    }
    Ok(found)
}

async fn bundle(
    pool: &SqlitePool,
    reference: &str,
    now: Timestamp,
) -> Result<Option<BundleFacts>, StoreError> {
    let row = sqlx::query(place!("?1"))
        .bind(reference)
        .fetch_optional(pool)
        .await
        .map_err(driver(LOOK))?;
    let Some(place) = row.as_ref().map(read_place).transpose()? else {
        return Ok(None);
    };
    let Place {
        key,
        id,
        unsent,
        ahead,
        unconfirmed,
    } = place;
    let Some(mut found) = bundles::by_id(pool, &id).await? else {
        // It went meanwhile.
        return Ok(None);
    };
    found.progress = progress::of(pool, &[key]).await?.remove(&key);
    let Some(lane) = lane(pool, &found.consumer_name, now).await? else {
        return Ok(None);
    };
    Ok(Some(BundleFacts {
        bundle: found,
        unsent,
        ahead,
        unconfirmed,
        lane,
    }))
}

async fn lane(
    pool: &SqlitePool,
    name: &ConsumerName,
    now: Timestamp,
) -> Result<Option<LaneFacts>, StoreError> {
    let Some(consumer) = consumers::by_name(pool, name).await? else {
        return Ok(None);
    };
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT MAX(s.stored_at) FROM statuses s JOIN bundles b ON b.key = s.bundle_key WHERE b.consumer_name = ?1",
    )
    .bind(name.as_str())
    .fetch_one(pool)
    .await
    .map_err(driver(LOOK))?;
    let last_status_at: Option<Timestamp> = rows::moment(last, name.as_str())?;
    Ok(Some(LaneFacts {
        consumer,
        last_status_at,
        presence: presence::one(pool, name).await?,
        listening_since: presence::since(pool, now).await?,
        lease: None,
    }))
}

async fn consumer(
    pool: &SqlitePool,
    name: &ConsumerName,
    now: Timestamp,
) -> Result<Option<ConsumerFacts>, StoreError> {
    let Some(lane) = lane(pool, name, now).await? else {
        return Ok(None);
    };
    let mut connection = pool.acquire().await.map_err(driver(LOOK))?;
    let mut loads = progress::loads(&mut connection, std::slice::from_ref(name)).await?;
    drop(connection);
    let ids: Vec<String> = sqlx::query_scalar(OLDEST)
        .bind(name.as_str())
        .fetch_all(pool)
        .await
        .map_err(driver(LOOK))?;
    let mut oldest = Vec::with_capacity(ids.len());
    for id in ids {
        oldest.extend(bundle(pool, &id, now).await?);
    }
    let raised = sqlx::query(raised!("?1", "?2"))
        .bind(name.as_str())
        .bind(RAISED_SHOWN)
        .fetch_all(pool)
        .await
        .map_err(driver(LOOK))?;
    Ok(Some(ConsumerFacts {
        load: loads.remove(name.as_str()).unwrap_or_default(),
        oldest,
        epoch: history::present(pool).await?,
        doubts: history::doubts(pool, name).await?,
        raised: raised.iter().map(read_raised).collect::<Result<_, _>>()?,
        lane,
    }))
}

async fn names(pool: &SqlitePool) -> Result<KnownNames, StoreError> {
    let rows = sqlx::query("SELECT id, name FROM bundles ORDER BY key DESC LIMIT ?1")
        .bind(NAMES_LOOKED_AT)
        .fetch_all(pool)
        .await
        .map_err(driver(LOOK))?;
    let mut names = KnownNames::default();
    for row in &rows {
        names.bundles.extend([row.text("id")?, row.text("name")?]);
    }
    names.bundles.dedup();
    names.consumers =
        sqlx::query_scalar("SELECT name FROM consumers ORDER BY created_at DESC LIMIT ?1")
            .bind(NAMES_LOOKED_AT)
            .fetch_all(pool)
            .await
            .map_err(driver(LOOK))?;
    Ok(names)
}

const OLDEST: &str = oldest!(
    "(SELECT s.version FROM statuses s WHERE s.bundle_key = t.key)",
    "MAX",
    "?1"
);

const LOOK: &str = "read what is known of a bundle";
