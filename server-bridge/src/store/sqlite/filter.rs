//! Filters and orders as SQL. Column names come from an enum and values are bound, so no text of a caller
//! ever becomes part of a statement.

use sqlx::{QueryBuilder, Sqlite};

use super::super::query::{
    BundleColumn, Column, Comparison, ConsumerColumn, Filter, Glob, Order, Pattern, Subject, Value,
};

/// A resource whose rows can be filtered, with alias `t`.
pub(super) trait Table: Column {
    /// Table name.
    const TABLE: &'static str;
    /// A table function that gives the labels of a row.
    const LABELS: &'static str;
    /// The JSON of a row that holds its labels, and the path to them.
    const LABEL_PATH: (&'static str, &'static str);
}

impl Table for BundleColumn {
    const TABLE: &'static str = "bundles";
    const LABELS: &'static str = "json_each(t.metadata, '$.labels')";
    const LABEL_PATH: (&'static str, &'static str) = ("t.metadata", "$.labels");
}

impl Table for ConsumerColumn {
    const TABLE: &'static str = "consumers";
    const LABELS: &'static str = "json_each(t.labels)";
    const LABEL_PATH: (&'static str, &'static str) = ("t.labels", "$");
}

/// `FROM … WHERE …`
pub(super) fn push_from<C: Table>(sql: &mut QueryBuilder<Sqlite>, filter: Option<&Filter<C>>) {
    sql.push(" FROM ").push(C::TABLE).push(" t");
    if let Some(filter) = filter {
        sql.push(" WHERE ");
        push_filter(sql, filter);
    }
}

/// `ORDER BY …`, ending in the order of creation.
pub(super) fn push_order<C: Table>(sql: &mut QueryBuilder<Sqlite>, order: &[Order<C>]) {
    sql.push(" ORDER BY ");
    for key in order {
        sql.push("t.").push(key.column.name());
        sql.push(if key.descending { " DESC, " } else { ", " });
    }
    sql.push("t.rowid");
}

fn push_filter<C: Table>(sql: &mut QueryBuilder<Sqlite>, filter: &Filter<C>) {
    match filter {
        Filter::All(parts) => push_joined(sql, parts, " AND ", "1"),
        Filter::Any(parts) => push_joined(sql, parts, " OR ", "0"),
        Filter::Not(inner) => {
            sql.push("NOT (");
            push_filter(sql, inner);
            sql.push(")");
        }
        Filter::Compare(subject, comparison, value) => {
            push_subject(sql, subject);
            sql.push(operator(*comparison));
            push_value(sql, value);
        }
        Filter::Like {
            subject,
            pattern,
            fold,
        } => {
            push_subject(sql, subject);
            if *fold {
                sql.push(" LIKE ").push_bind(like(pattern));
                sql.push(" ESCAPE '\\'");
            } else {
                sql.push(" GLOB ").push_bind(glob(pattern));
            }
        }
        Filter::In(subject, values) => {
            push_subject(sql, subject);
            sql.push(" IN (");
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    sql.push(", ");
                }
                push_value(sql, value);
            }
            sql.push(")");
        }
        Filter::IsNull(subject) => {
            push_subject(sql, subject);
            sql.push(" IS NULL");
        }
    }
}

fn push_joined<C: Table>(
    sql: &mut QueryBuilder<Sqlite>,
    parts: &[Filter<C>],
    operator: &str,
    empty: &str,
) {
    if parts.is_empty() {
        sql.push(empty);
        return;
    }
    sql.push("(");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sql.push(operator);
        }
        push_filter(sql, part);
    }
    sql.push(")");
}

fn push_subject<C: Table>(sql: &mut QueryBuilder<Sqlite>, subject: &Subject<C>) {
    match subject {
        Subject::Column(column) => {
            sql.push("t.").push(column.name());
        }
        // The engine parses a row's JSON once for all of these, and once for each of the others.
        Subject::Label(name) if plain(name) => {
            let (json, path) = C::LABEL_PATH;
            sql.push("json_extract(").push(json).push(", ");
            sql.push_bind(format!("{path}.\"{name}\"")).push(")");
        }
        Subject::Metadata(member) => {
            let (json, _) = C::LABEL_PATH;
            sql.push("json_extract(").push(json).push(", ");
            sql.push_bind(format!("$.\"{member}\"")).push(")");
        }
        Subject::Constant(value) => {
            sql.push_bind(value.clone());
        }
        Subject::Label(name) => {
            sql.push("(SELECT l.value FROM ").push(C::LABELS);
            sql.push(" l WHERE l.key = ").push_bind(name.clone());
            sql.push(")");
        }
    }
}

/// Whether a name means itself between the quotes of a JSON path.
fn plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    !name.is_empty() && name.bytes().all(plain)
}

fn push_value(sql: &mut QueryBuilder<Sqlite>, value: &Value) {
    match value {
        Value::Text(text) => sql.push_bind(text.clone()),
        Value::Integer(number) => sql.push_bind(*number),
    };
}

const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " = ",
        Comparison::NotEqual => " <> ",
        Comparison::Less => " < ",
        Comparison::LessOrEqual => " <= ",
        Comparison::Greater => " > ",
        Comparison::GreaterOrEqual => " >= ",
    }
}

/// SQLite's LIKE ignores ASCII case.
fn like(pattern: &Pattern) -> String {
    let mut text = String::new();
    for piece in &pattern.0 {
        match piece {
            Glob::AnyText => text.push('%'),
            Glob::AnyChar => text.push('_'),
            Glob::Char(c @ ('%' | '_' | '\\')) => text.extend(['\\', *c]),
            Glob::Char(c) => text.push(*c),
        }
    }
    text
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
