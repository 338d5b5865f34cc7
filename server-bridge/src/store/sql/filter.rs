//! Filters, orders and pages as SQL. Column names come from an enum and values are bound, so no text of a caller
//! ever becomes part of a statement.

use sqlx::{Database, QueryBuilder};

use super::super::progress::Derived;
use super::super::query::{
    BundleColumn, Column, Comparison, ConsumerColumn, Filter, Order, Pattern, Query, Subject, Value,
};

/// A resource whose rows can be filtered, with alias `t`.
pub(in crate::store) trait Table: Column {
    /// Table name.
    const TABLE: &'static str;

    /// What it is made from, if it is no column of the table.
    fn derived(self) -> Option<Derived> {
        None
    }
}

impl Table for BundleColumn {
    const TABLE: &'static str = "bundles";

    fn derived(self) -> Option<Derived> {
        match self {
            Self::Applied => Some(Derived::Applied),
            Self::Available => Some(Derived::Available),
            Self::StatusVersion => Some(Derived::StatusVersion),
            Self::StatusAt => Some(Derived::StatusAt),
            Self::WaitingFor => Some(Derived::WaitingFor),
            Self::WaitingSince => Some(Derived::WaitingSince),
            _ => None,
        }
    }
}

impl Table for ConsumerColumn {
    const TABLE: &'static str = "consumers";
}

/// How an engine writes what differs between engines. Text is compared by its bytes, absent values sort first.
pub(in crate::store) trait Dialect: Database + Sized {
    /// A condition that always holds.
    const TRUE: &'static str;
    /// A condition that never holds.
    const FALSE: &'static str;
    /// The column that orders rows by their creation.
    const CREATION: &'static str;
    /// Behind a sort key that rises.
    const RISING: &'static str;
    /// Behind a sort key that falls.
    const FALLING: &'static str;

    /// A value that is made from several columns of a bundle; nothing of it needs brackets.
    fn derived(column: Derived) -> &'static str;
    /// A text as a parameter.
    fn push_text(sql: &mut QueryBuilder<Self>, text: &str);
    /// An integer as a parameter.
    fn push_integer(sql: &mut QueryBuilder<Self>, number: i64);
    /// The value of a label, or NULL.
    fn push_label(sql: &mut QueryBuilder<Self>, table: &'static str, name: &str);
    /// The value of a member of the metadata, or NULL.
    fn push_metadata(sql: &mut QueryBuilder<Self>, table: &'static str, member: &str);
    /// A condition that the value of a label is this text, false where there is none, as an index answers it. False, and
    /// nothing is written, where the engine has no such index.
    fn push_label_is(_: &mut QueryBuilder<Self>, _name: &str, _value: &str) -> bool {
        false
    }
    /// The same for a member of the metadata.
    fn push_metadata_is(_: &mut QueryBuilder<Self>, _member: &str, _value: &str) -> bool {
        false
    }
    /// The operator and its pattern; `fold` ignores ASCII case.
    fn push_like(sql: &mut QueryBuilder<Self>, pattern: &Pattern, fold: bool);
}

/// `FROM … WHERE …`
pub(in crate::store) fn push_from<D: Dialect, C: Table>(
    sql: &mut QueryBuilder<D>,
    filter: Option<&Filter<C>>,
) {
    sql.push(" FROM ").push(C::TABLE).push(" t");
    if let Some(filter) = filter {
        sql.push(" WHERE ");
        push_filter(sql, filter, true);
    }
}

/// `FROM … WHERE … ORDER BY … LIMIT … OFFSET …`, with so many rows more.
pub(in crate::store) fn push_page<D: Dialect, C: Table>(
    sql: &mut QueryBuilder<D>,
    query: &Query<C>,
    spare: u32,
) {
    push_from(sql, query.filter.as_ref());
    push_order(sql, &query.order);
    sql.push(" LIMIT ");
    D::push_integer(sql, i64::from(query.limit) + i64::from(spare));
    sql.push(" OFFSET ");
    D::push_integer(sql, i64::try_from(query.offset).unwrap_or(i64::MAX));
}

/// `ORDER BY …`, ending in the order of creation.
fn push_order<D: Dialect, C: Table>(sql: &mut QueryBuilder<D>, order: &[Order<C>]) {
    sql.push(" ORDER BY ");
    for key in order {
        push_column(sql, key.column);
        sql.push(if key.descending {
            D::FALLING
        } else {
            D::RISING
        });
        sql.push(", ");
    }
    sql.push(D::CREATION);
}

/// With `plain` nothing around it turns a condition round: one that is unknown, because a value is absent, may as well be
/// false.
fn push_filter<D: Dialect, C: Table>(sql: &mut QueryBuilder<D>, filter: &Filter<C>, plain: bool) {
    match filter {
        Filter::All(parts) => push_joined(sql, parts, " AND ", D::TRUE, plain),
        Filter::Any(parts) => push_joined(sql, parts, " OR ", D::FALSE, plain),
        Filter::Not(inner) => {
            sql.push("NOT (");
            push_filter(sql, inner, false);
            sql.push(")");
        }
        Filter::Compare(subject, Comparison::Equal, value)
            if plain && push_is(sql, subject, value) => {}
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
            D::push_like(sql, pattern, *fold);
        }
        Filter::In(subject @ (Subject::Label(_) | Subject::Metadata(_)), values) if plain => {
            let equal =
                |value: &Value| Filter::Compare(subject.clone(), Comparison::Equal, value.clone());
            let parts: Vec<Filter<C>> = values.iter().map(equal).collect();
            push_joined(sql, &parts, " OR ", D::FALSE, plain);
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
        Filter::After(place) => {
            sql.push(D::CREATION).push(" > ");
            D::push_integer(sql, place.0);
        }
    }
}

fn push_joined<D: Dialect, C: Table>(
    sql: &mut QueryBuilder<D>,
    parts: &[Filter<C>],
    operator: &str,
    empty: &str,
    plain: bool,
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
        push_filter(sql, part, plain);
    }
    sql.push(")");
}

/// Writes that a label or a member of the metadata is this text, where the engine has an index for it.
fn push_is<D: Dialect, C: Table>(
    sql: &mut QueryBuilder<D>,
    subject: &Subject<C>,
    value: &Value,
) -> bool {
    match (subject, value) {
        (Subject::Label(name), Value::Text(text)) => D::push_label_is(sql, name, text),
        (Subject::Metadata(member), Value::Text(text)) => D::push_metadata_is(sql, member, text),
        _ => false,
    }
}

fn push_column<D: Dialect, C: Table>(sql: &mut QueryBuilder<D>, column: C) {
    match column.derived() {
        Some(derived) => sql.push(D::derived(derived)),
        None => sql.push("t.").push(column.name()),
    };
}

fn push_subject<D: Dialect, C: Table>(sql: &mut QueryBuilder<D>, subject: &Subject<C>) {
    match subject {
        Subject::Column(column) => push_column(sql, *column),
        Subject::Label(name) => D::push_label(sql, C::TABLE, name),
        Subject::Metadata(member) => D::push_metadata(sql, C::TABLE, member),
    }
}

fn push_value<D: Dialect>(sql: &mut QueryBuilder<D>, value: &Value) {
    match value {
        Value::Text(text) => D::push_text(sql, text),
        Value::Integer(number) => D::push_integer(sql, *number),
    }
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
