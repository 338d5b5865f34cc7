//! Combines conditions of a search into one, flattening nested `and` and `or`.

use crate::store::query::{Column, Comparison, Filter, Subject};

/// The only one, or all of them as `many` joins them.
pub(super) fn one_or<C>(
    mut parts: Vec<Filter<C>>,
    many: fn(Vec<Filter<C>>) -> Filter<C>,
) -> Filter<C> {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

/// Makes `column = 'a' or column = 'b'` one condition: clients that watch many consumers name each of them like that.
pub(super) fn one_more<C: Column>(last: &mut Filter<C>, next: &Filter<C>) -> bool {
    let Filter::Compare(subject @ Subject::Column(_), Comparison::Equal, value) = next else {
        return false;
    };
    match last {
        Filter::In(known, values) if known == subject => values.push(value.clone()),
        Filter::Compare(known, Comparison::Equal, first) if known == subject => {
            *last = Filter::In(subject.clone(), vec![first.clone(), value.clone()]);
        }
        _ => return false,
    }
    true
}

pub(super) fn negate<C>(negated: bool, filter: Filter<C>) -> Filter<C> {
    if negated {
        Filter::Not(Box::new(filter))
    } else {
        filter
    }
}
