//! How PostgreSQL writes filters ([`crate::store::sql::filter`]). Text compares by bytes: columns are declared so, and
//! values taken out of `search` are compared so explicitly.

use serde_json::{Value, json};
use sqlx::{Postgres, QueryBuilder};

use super::super::progress::Derived;
use super::super::query::Pattern;
use super::super::sql::filter::Dialect;
use super::progress;
use super::text::storable;

impl Dialect for Postgres {
    const TRUE: &'static str = "TRUE";
    const FALSE: &'static str = "FALSE";
    const CREATION: &'static str = "t.key";
    const RISING: &'static str = " NULLS FIRST";
    const FALLING: &'static str = " DESC NULLS LAST";

    fn derived(column: Derived) -> &'static str {
        progress::derived(column)
    }

    fn push_text(sql: &mut QueryBuilder<Self>, text: &str) {
        sql.push_bind(storable(text).into_owned());
        sql.push(BYTES);
    }

    fn push_integer(sql: &mut QueryBuilder<Self>, number: i64) {
        sql.push_bind(number);
    }

    fn push_label(sql: &mut QueryBuilder<Self>, _: &'static str, name: &str) {
        sql.push("(t.search -> 'labels' ->> ");
        sql.push_bind(storable(name).into_owned());
        sql.push(")").push(BYTES);
    }

    fn push_metadata(sql: &mut QueryBuilder<Self>, _: &'static str, member: &str) {
        sql.push("(t.search ->> ").push_bind(member.to_owned());
        sql.push(")").push(BYTES);
    }

    fn push_label_is(sql: &mut QueryBuilder<Self>, name: &str, value: &str) -> bool {
        push_contains(
            sql,
            &json!({ "labels": { storable(name): storable(value) } }),
        );
        true
    }

    fn push_metadata_is(sql: &mut QueryBuilder<Self>, member: &str, value: &str) -> bool {
        push_contains(sql, &json!({ member: storable(value) }));
        true
    }

    fn push_like(sql: &mut QueryBuilder<Self>, pattern: &Pattern, fold: bool) {
        // With this collation ILIKE folds ASCII alone.
        sql.push(if fold { " ILIKE " } else { " LIKE " });
        sql.push_bind(storable(&pattern.like()).into_owned());
        sql.push(BYTES).push(" ESCAPE '\\'");
    }
}

/// Strings in `jsonb` are equal when their bytes are, and the index `bundles_by_search` looks them up.
fn push_contains(sql: &mut QueryBuilder<Postgres>, part: &Value) {
    sql.push("t.search @> ").push_bind(part.to_string());
    sql.push("::jsonb");
}

const BYTES: &str = " COLLATE \"C\"";
