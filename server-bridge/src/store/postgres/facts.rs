//! What `explain` asks for in PostgreSQL: of an open store by its connections, and of a schema that bridges use by a
//! connection of its own.

use std::sync::Arc;

use jiff::Timestamp;
use link::id::ConsumerName;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::super::facts::{
    BundleFacts, ConsumerFacts, ExplainStore, Found, KnownNames, LaneFacts, LeaseFacts,
    NAMES_LOOKED_AT, RAISED_SHOWN, Wanted,
};
use super::super::sql::facts::{
    NAMED, NEWEST_BUNDLES, NEWEST_CONSUMERS, OwnFacts, PLACE, RAISED, known_names, oldest,
    read_lease, read_place, read_raised,
};
use super::super::sql::rows;
use super::super::{Bucket, StoreError};
use super::config::PostgresConfig;
use super::failure::driver;
use super::limits::PING_ANSWER;
use super::overview::tables;
use super::text::storable;
use super::{
    PostgresStore, Use, bundles, connect, consumers, history, open, presence, progress, status,
};

impl ExplainStore for PostgresStore {
    async fn bundle_facts(
        &self,
        reference: &str,
        now: Timestamp,
    ) -> Result<Option<BundleFacts>, StoreError> {
        let reference = reference.to_owned();
        self.read(Use::Api, LOOK, |c| {
            Box::pin(async move { bundle(c, &reference, now).await })
        })
        .await
    }

    async fn bundle_named(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.read(Use::Api, LOOK, |c| {
            Box::pin(async move {
                let found = sqlx::query_scalar(NAMED)
                    .bind(storable(&name))
                    .fetch_optional(c);
                found.await.map_err(driver(LOOK))
            })
        })
        .await
    }

    async fn consumer_facts(
        &self,
        name: &ConsumerName,
        now: Timestamp,
    ) -> Result<Option<ConsumerFacts>, StoreError> {
        let name = name.clone();
        self.read(Use::Search, LOOK, |c| Box::pin(consumer(c, name, now)))
            .await
    }
}

/// Everything that `reference` may mean in a schema.
pub(in crate::store) async fn find(
    config: &PostgresConfig,
    reference: &str,
    wanted: Wanted,
    now: Timestamp,
) -> Result<Found, StoreError> {
    let failed = |(database, source)| StoreError::Open {
        database,
        source: Arc::new(source),
    };
    open::trusted(config).map_err(|error| failed(("postgres".into(), error)))?;
    let credentials = config.credentials().await;
    let credentials = credentials.map_err(|error| failed(("postgres".into(), error)))?;
    let place = format!("{} {}", credentials.place(), config.schema.as_str());
    let connected = connect::connect(config, &credentials).await;
    let mut connection = connected.map_err(|error| failed((place.clone(), error)))?;
    if let Some(error) = tables(&mut connection).await?.unexplainable() {
        return Err(failed((place, error)));
    }
    let found = find_in(&mut connection, reference, wanted, now).await;
    let _ = timeout(PING_ANSWER, connection.close()).await;
    found
}

async fn find_in(
    connection: &mut PgConnection,
    reference: &str,
    wanted: Wanted,
    now: Timestamp,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    if wanted.bundle() {
        found.bundle = bundle(connection, reference, now).await?;
        if found.bundle.is_none() {
            found.tombstone = status::tombstone(connection, reference.to_owned()).await?;
        }
    }
    if wanted.consumer() {
        let mut there = consumers::by_id(connection, reference.to_owned()).await?;
        if there.is_none()
            && let Ok(name) = ConsumerName::new(reference)
        {
            there = consumers::by_name(connection, name).await?;
        }
        if let Some(there) = there {
            found.consumer = consumer(connection, there.name, now).await?;
        }
    }
    if found.is_nothing() {
        found.names = names(connection).await?;
    }
    Ok(found)
}

async fn bundle(
    connection: &mut PgConnection,
    reference: &str,
    now: Timestamp,
) -> Result<Option<BundleFacts>, StoreError> {
    let Some(own) = own(connection, reference).await? else {
        return Ok(None);
    };
    let name = own.bundle.consumer_name.clone();
    let lane = lane(connection, name, now).await?;
    Ok(lane.map(|lane| own.on(lane)))
}

async fn own(
    connection: &mut PgConnection,
    reference: &str,
) -> Result<Option<OwnFacts>, StoreError> {
    let row = sqlx::query(PLACE)
        .bind(storable(reference))
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

async fn lane(
    connection: &mut PgConnection,
    name: ConsumerName,
    now: Timestamp,
) -> Result<Option<LaneFacts>, StoreError> {
    let bucket = Bucket::of(&name);
    let Some(consumer) = consumers::by_name(connection, name.clone()).await? else {
        return Ok(None);
    };
    let last: Option<i64> =
        sqlx::query_scalar("SELECT MAX(status_taken_at) FROM bundles WHERE consumer_name = $1")
            .bind(name.as_str())
            .fetch_one(&mut *connection)
            .await
            .map_err(driver(LOOK))?;
    let last_status_at: Option<Timestamp> = rows::moment(last, name.as_str())?;
    Ok(Some(LaneFacts {
        consumer,
        last_status_at,
        presence: presence::one(connection, name.clone()).await?,
        listening_since: presence::since(connection, now).await?,
        listened_until: presence::until(connection).await?,
        lease: Some(lease(connection, bucket).await?),
    }))
}

async fn lease(connection: &mut PgConnection, bucket: Bucket) -> Result<LeaseFacts, StoreError> {
    // All times are the server's.
    let row = sqlx::query(
        "SELECT l.term, COALESCE(r.name, '') AS name, COALESCE(r.slot, 0)::bigint AS slot, \
           (extract(epoch FROM r.expires_at) * 1000000)::bigint AS until, \
           COALESCE(r.expires_at < clock_timestamp(), false) AS expired, \
           (SELECT COUNT(*) FROM replicas WHERE expires_at >= clock_timestamp()) AS replicas \
         FROM bucket_leases l LEFT JOIN replicas r ON r.instance = l.instance WHERE l.bucket = $1",
    )
    .bind(i16::from(bucket.number()))
    .fetch_one(connection)
    .await
    .map_err(driver(LOOK))?;
    read_lease(&row, bucket)
}

async fn consumer(
    connection: &mut PgConnection,
    name: ConsumerName,
    now: Timestamp,
) -> Result<Option<ConsumerFacts>, StoreError> {
    let Some(lane) = lane(connection, name.clone(), now).await? else {
        return Ok(None);
    };
    let mut loads = progress::loads(connection, vec![name.clone()]).await?;
    let ids: Vec<String> = sqlx::query_scalar(OLDEST)
        .bind(name.as_str())
        .fetch_all(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
    let mut oldest = Vec::with_capacity(ids.len());
    for id in ids {
        let own = own(connection, &id).await?;
        oldest.extend(own.map(|own| own.on(lane.clone())));
    }
    let raised = sqlx::query(RAISED)
        .bind(name.as_str())
        .bind(RAISED_SHOWN)
        .fetch_all(&mut *connection)
        .await
        .map_err(driver(LOOK))?;
    Ok(Some(ConsumerFacts {
        load: loads.remove(name.as_str()).unwrap_or_default(),
        oldest,
        epoch: history::present(connection).await?,
        doubts: history::doubts(connection, name).await?,
        raised: read_raised(&raised)?,
        lane,
    }))
}

async fn names(connection: &mut PgConnection) -> Result<KnownNames, StoreError> {
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

const OLDEST: &str = oldest!("t.status_version", "GREATEST");

const LOOK: &str = "read what is known of a bundle";
