//! Pages. A bundle list first fixes which rows it shows, then reads them a batch at a time as its reader
//! takes them: memory is bounded by a few batches and no snapshot is held for a slow client. Fixing the rows is a search
//! with a deadline; reading a batch is a look-up by key.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt};
use sqlx::{Connection as _, QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::super::sql::filter::{Table, push_from, push_page};
use super::super::sql::page;
use super::super::{Bundle, Consumer, Page, PageEnd, StoreError};
use super::outbox::array;
use super::progress;
use super::rows::{self, driver, select_bundle};
use super::search::SearchPool;

pub(super) async fn bundles(
    searches: &SearchPool,
    pool: &SqlitePool,
    query: Query<BundleColumn>,
    parts: Parts,
) -> Result<Page<Bundle>, StoreError> {
    let limit = query.limit;
    let (total, keys) = searches
        .run("list bundles", |connection| {
            Box::pin(async move {
                let mut snapshot = connection.begin().await.map_err(driver("begin a list"))?;
                let total = count(&mut snapshot, &query).await?;
                let mut sql = QueryBuilder::<Sqlite>::new("SELECT t.key");
                push_page(&mut sql, &query, page::spare(limit));
                let keys: Vec<i64> = sql
                    .build_query_scalar()
                    .persistent(false)
                    .fetch_all(&mut *snapshot)
                    .await
                    .map_err(driver("list bundles"))?;
                Ok((total, keys))
            })
        })
        .await?;
    let pool = pool.clone();
    let (end, rows) = page::rows(&keys, limit, move |keys| read(pool.clone(), keys, parts));
    Ok(Page { total, end, rows })
}

pub(super) async fn consumers(
    searches: &SearchPool,
    query: Query<ConsumerColumn>,
) -> Result<Page<Consumer>, StoreError> {
    searches
        .run("list consumers", |connection| {
            Box::pin(async move {
                let mut snapshot = connection.begin().await.map_err(driver("begin a list"))?;
                let total = count(&mut snapshot, &query).await?;
                let mut sql = QueryBuilder::<Sqlite>::new("SELECT t.*");
                push_page(&mut sql, &query, 0);
                // A consumer is a few hundred bytes, so the longest page is held whole.
                let rows = sql
                    .build()
                    .persistent(false)
                    .fetch_all(&mut *snapshot)
                    .await
                    .map_err(driver("list consumers"))?;
                let rows: Vec<_> = rows.iter().map(rows::consumer).collect();
                Ok(Page {
                    total,
                    end: PageEnd::default(),
                    rows: stream::iter(rows).boxed(),
                })
            })
        })
        .await
}

async fn count<C: Table>(
    connection: &mut SqliteConnection,
    query: &Query<C>,
) -> Result<u64, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT COUNT(*)");
    push_from(&mut sql, query.filter.as_ref());
    let total: i64 = sql
        .build_query_scalar()
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(driver("count a list"))?;
    Ok(total.unsigned_abs())
}

async fn read(
    pool: SqlitePool,
    keys: Vec<i64>,
    parts: Parts,
) -> Result<Vec<(i64, Bundle)>, StoreError> {
    let found = sqlx::query(select_bundle!(
        "WHERE b.key IN (SELECT value FROM json_each(?4))"
    ))
    .bind(parts.content)
    .bind(parts.status)
    .bind(parts.ledger)
    .bind(array(&keys))
    .fetch_all(&pool)
    .await
    .map_err(driver("read a batch of bundles"))?;
    let progress = match parts.progress {
        true => progress::of(&pool, &keys).await?,
        false => HashMap::new(),
    };
    page::in_order(&keys, &found, progress)
}
