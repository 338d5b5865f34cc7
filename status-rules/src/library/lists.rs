//! Kubernetes' functions on lists (`isSorted`, `sum`, `min`, `max`, `indexOf`, `lastIndexOf`), and metered ones in the
//! place of those of the lists extension whose cost is the square of their argument.

use std::cmp::Ordering;

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelUInt, DYN_TYPE, LIST_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

use super::{Declared, Result, fails, integer, unfit};
use crate::meter::{METER_TYPE, Meter};
use crate::value;

pub(super) fn declare(env: &mut Env) -> Declared {
    env.add_member_overload("isSorted", "list_is_sorted", LIST_TYPE, vec![], |args| {
        is_sorted(&args)
    })?;
    env.add_member_overload("sum", "list_sum", LIST_TYPE, vec![], |args| sum(&args))?;
    env.add_member_overload("min", "list_min", LIST_TYPE, vec![], |args| min(&args))?;
    env.add_member_overload("max", "list_max", LIST_TYPE, vec![], |args| max(&args))?;
    let metered = || vec![METER_TYPE.to_owned(), DYN_TYPE];
    env.add_overload("@distinct", "@distinct", metered(), |args| distinct(&args))?;
    env.add_overload("@range", "@range", metered(), |args| range(&args))
}

/// The elements of an argument that has to be a list.
///
/// # Errors
/// When it is none.
pub(super) fn elements<'a, 'v>(
    args: &'a [CowVal<'_, 'v>],
    at: usize,
    function: &str,
) -> Result<&'a [Box<dyn Val + 'v>]> {
    let value = args
        .get(at)
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    value
        .downcast_ref::<CelList<'_>>()
        .map(CelList::inner)
        .ok_or_else(|| unfit(function, value.as_ref(), &LIST_TYPE))
}

/// `list.indexOf(element)`, behind the meter.
///
/// # Errors
/// When the budget is spent.
pub(super) fn index_of<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    find(args, "indexOf", |list, wanted| {
        list.iter().position(|item| item.equals(wanted))
    })
}

/// `list.lastIndexOf(element)`, behind the meter.
///
/// # Errors
/// When the budget is spent.
pub(super) fn last_index_of<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    find(args, "lastIndexOf", |list, wanted| {
        list.iter().rposition(|item| item.equals(wanted))
    })
}

fn find<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    function: &str,
    search: impl Fn(&[Box<dyn Val + 'v>], &dyn Val) -> Option<usize>,
) -> Result<CowVal<'b, 'v>> {
    let (list, [_, subject, wanted]) = (elements(args, 1, function)?, args) else {
        return Err(ExecutionError::invalid_argument_count(2, args.len() - 1));
    };
    Meter::of(args)?.charge_size(subject.as_ref())?;
    let position = search(list, wanted.as_ref()).and_then(|at| i64::try_from(at).ok());
    Ok(CowVal::owned(CelInt::from(position.unwrap_or(-1))))
}

fn is_sorted<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    for pair in elements(args, 0, "isSorted")?.windows(2) {
        if let [left, right] = pair
            && compare("isSorted", left.as_ref(), right.as_ref())? == Ordering::Greater
        {
            return Ok(CowVal::owned(CelBool::from(false)));
        }
    }
    Ok(CowVal::owned(CelBool::from(true)))
}

// Numbers of one type; an empty list sums up to the whole number zero.
fn sum<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    let list = elements(args, 0, "sum")?;
    let overflow = || fails("sum", "the sum is too large");
    if let Some(numbers) = all::<CelInt>(list) {
        let sum = numbers
            .iter()
            .try_fold(0_i64, |sum, number| sum.checked_add(*number.inner()));
        return Ok(CowVal::owned(CelInt::from(sum.ok_or_else(overflow)?)));
    }
    if let Some(numbers) = all::<CelUInt>(list) {
        let sum = numbers
            .iter()
            .try_fold(0_u64, |sum, number| sum.checked_add(*number.inner()));
        return Ok(CowVal::owned(CelUInt::from(sum.ok_or_else(overflow)?)));
    }
    let numbers = all::<CelDouble>(list)
        .ok_or_else(|| fails("sum", "the list holds more than numbers of one type"))?;
    let sum: f64 = numbers.iter().map(|number| *number.inner()).sum();
    Ok(CowVal::owned(CelDouble::from(sum)))
}

fn min<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    extreme(args, "min", Ordering::Less)
}

fn max<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    extreme(args, "max", Ordering::Greater)
}

fn extreme<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    function: &str,
    wanted: Ordering,
) -> Result<CowVal<'b, 'v>> {
    let mut items = elements(args, 0, function)?.iter();
    let mut found = items
        .next()
        .ok_or_else(|| fails(function, "the list is empty"))?;
    for item in items {
        if compare(function, item.as_ref(), found.as_ref())? == wanted {
            found = item;
        }
    }
    Ok(CowVal::Owned(found.clone_as_boxed()))
}

fn distinct<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    let list = elements(args, 1, "distinct")?;
    let count = u64::try_from(list.len()).unwrap_or(u64::MAX);
    let sizes = list.iter().map(|item| value::size(item.as_ref(), u64::MAX));
    Meter::of(args)?.charge(sizes.sum::<u64>().saturating_mul(count.max(1)))?;
    let mut unique: Vec<Box<dyn Val + 'v>> = Vec::new();
    for item in list {
        if !unique.iter().any(|seen| seen.equals(item.as_ref())) {
            unique.push(item.clone_as_boxed());
        }
    }
    Ok(CowVal::owned(CelList::from(unique)))
}

fn range<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    let end = integer(args, 1, "lists.range")?;
    let count = u64::try_from(end).map_err(|_| {
        fails(
            "lists.range",
            &format!("a list of {end} elements cannot be"),
        )
    })?;
    Meter::of(args)?.charge(count)?;
    let numbers: Vec<Box<dyn Val>> = (0..end)
        .map(|number| Box::new(CelInt::from(number)) as Box<dyn Val>)
        .collect();
    Ok(CowVal::owned(CelList::from(numbers)))
}

fn all<'a, T: cel::common::value::StaticVal>(list: &'a [Box<dyn Val + '_>]) -> Option<Vec<&'a T>> {
    list.iter().map(|item| item.downcast_ref::<T>()).collect()
}

fn compare(function: &str, left: &dyn Val, right: &dyn Val) -> Result<Ordering> {
    let comparer = left
        .as_comparer()
        .ok_or_else(|| fails(function, "the list holds values without an order"))?;
    comparer.compare(right)
}
