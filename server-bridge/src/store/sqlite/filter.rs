//! How SQLite writes filters ([`crate::store::sql::filter`]). Its absent values sort first by themselves.

use sqlx::{QueryBuilder, Sqlite};

use super::super::progress::Derived;
use super::super::query::{Glob, Pattern};
use super::super::sql::filter::Dialect;
use super::progress;

impl Dialect for Sqlite {
    const TRUE: &'static str = "1";
    const FALSE: &'static str = "0";
    const CREATION: &'static str = "t.rowid";
    const RISING: &'static str = "";
    const FALLING: &'static str = " DESC";

    fn derived(column: Derived) -> &'static str {
        progress::derived(column)
    }

    fn push_text(sql: &mut QueryBuilder<Self>, text: &str) {
        sql.push_bind(text.to_owned());
    }

    fn push_integer(sql: &mut QueryBuilder<Self>, number: i64) {
        sql.push_bind(number);
    }

    fn push_label(sql: &mut QueryBuilder<Self>, table: &'static str, name: &str) {
        let (json, path) = labels(table);
        // The engine parses a row's JSON once for all of these, and once for each of the others.
        if plain(name) {
            sql.push("json_extract(").push(json).push(", ");
            sql.push_bind(format!("{path}.\"{name}\"")).push(")");
        } else {
            sql.push("(SELECT l.value FROM json_each(").push(json);
            sql.push(", '").push(path).push("') l WHERE l.key = ");
            sql.push_bind(name.to_owned()).push(")");
        }
    }

    fn push_metadata(sql: &mut QueryBuilder<Self>, table: &'static str, member: &str) {
        let (json, _) = labels(table);
        sql.push("json_extract(").push(json).push(", ");
        sql.push_bind(format!("$.\"{member}\"")).push(")");
    }

    fn push_like(sql: &mut QueryBuilder<Self>, pattern: &Pattern, fold: bool) {
        if fold {
            // Ignores ASCII case by itself.
            sql.push(" LIKE ").push_bind(pattern.like());
            sql.push(" ESCAPE '\\'");
        } else {
            sql.push(" GLOB ").push_bind(glob(pattern));
        }
    }
}

/// The JSON of a row that holds its labels, and the path to them.
fn labels(table: &'static str) -> (&'static str, &'static str) {
    match table {
        "consumers" => ("t.labels", "$"),
        _ => ("t.metadata", "$.labels"),
    }
}

/// Whether a name means itself between the quotes of a JSON path.
fn plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    !name.is_empty() && name.bytes().all(plain)
}

/// SQLite's GLOB minds case.
fn glob(pattern: &Pattern) -> String {
    let mut text = String::new();
    for piece in &pattern.0 {
        match piece {
            Glob::AnyText => text.push('*'),
            Glob::AnyChar => text.push('?'),
            Glob::Char(c @ ('*' | '?' | '[')) => text.extend(['[', *c, ']']),
            Glob::Char(c) => text.push(*c),
        }
    }
    text
}
