//! Pages. A bundle list first fixes which rows it shows, then reads them a batch at a time as its reader takes them:
//! memory is bounded by a few batches, and neither a snapshot nor a connection is held for a slow client. Fixing the rows
//! is a search with a deadline, on few connections at once; reading a batch is a look-up by key.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt};
use sqlx::{Connection as _, PgConnection, Postgres, QueryBuilder, SqlSafeStr as _};

use super::super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::super::sql::filter::{Table, push_from, push_page};
use super::super::sql::page;
use super::super::sql::rows;
use super::super::{Bundle, Consumer, Page, PageEnd, StoreError};
use super::bundles::select_bundle;
use super::consumers::columns;
use super::failure::driver;
use super::{PostgresStore, Use, progress};

pub(super) async fn bundles(
    store: &PostgresStore,
    query: Query<BundleColumn>,
    parts: Parts,
) -> Result<Page<Bundle>, StoreError> {
    let (limit, within) = (query.limit, store.limits().search);
    let (total, keys) = store
        .read(Use::Search, "list bundles", move |connection| {
            Box::pin(async move {
                let mut snapshot = begin(connection, within).await?;
                let total = count(&mut snapshot, &query).await?;
                let mut sql = QueryBuilder::<Postgres>::new("SELECT t.key");
                push_page(&mut sql, &query, page::spare(limit));
                let keys: Vec<i64> = sql
                    .build_query_scalar()
                    .persistent(false)
                    .fetch_all(&mut *snapshot)
                    .await
                    .map_err(driver("list bundles"))?;
                snapshot.commit().await.map_err(driver("end a list"))?;
                Ok((total, keys))
            })
        })
        .await?;
    let store = store.clone();
    let (end, rows) = page::rows(&keys, limit, move |keys| batch(store.clone(), keys, parts));
    Ok(Page { total, end, rows })
}

pub(super) async fn consumers(
    store: &PostgresStore,
    query: Query<ConsumerColumn>,
) -> Result<Page<Consumer>, StoreError> {
    let limit = store.limits().search;
    store
        .read(Use::Search, "list consumers", move |connection| {
            Box::pin(async move {
                let mut snapshot = begin(connection, limit).await?;
                let total = count(&mut snapshot, &query).await?;
                let mut sql = QueryBuilder::<Postgres>::new(concat!("SELECT ", columns!()));
                push_page(&mut sql, &query, 0);
                // A consumer is a few hundred bytes, so the longest page is held whole.
                let rows = sql
                    .build()
                    .persistent(false)
                    .fetch_all(&mut *snapshot)
                    .await
                    .map_err(driver("list consumers"))?;
                snapshot.commit().await.map_err(driver("end a list"))?;
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

/// One state of the tables for count and page, and a deadline at which the server stops looking.
async fn begin(
    connection: &mut PgConnection,
    limit: std::time::Duration,
) -> Result<sqlx::Transaction<'_, Postgres>, StoreError> {
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}",
        limit.as_millis()
    );
    connection
        .begin_with(sqlx::AssertSqlSafe(begin).into_sql_str())
        .await
        .map_err(driver("begin a list"))
}

async fn count<C: Table>(
    connection: &mut PgConnection,
    query: &Query<C>,
) -> Result<u64, StoreError> {
    let mut sql = QueryBuilder::<Postgres>::new("SELECT COUNT(*)");
    push_from(&mut sql, query.filter.as_ref());
    let total: i64 = sql
        .build_query_scalar()
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(driver("count a list"))?;
    Ok(total.unsigned_abs())
}

async fn batch(
    store: PostgresStore,
    keys: Vec<i64>,
    parts: Parts,
) -> Result<Vec<(i64, Bundle)>, StoreError> {
    store
        .read(Use::Api, "read a batch of bundles", move |connection| {
            Box::pin(async move {
                let found = sqlx::query(select_bundle!("WHERE b.key = ANY($4)"))
                    .bind(parts.content)
                    .bind(parts.status)
                    .bind(parts.ledger)
                    .bind(&keys)
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(driver("read a batch of bundles"))?;
                let progress = match parts.progress {
                    true => progress::of(connection, &keys).await?,
                    false => HashMap::new(),
                };
                page::in_order(&keys, &found, progress)
            })
        })
        .await
}
