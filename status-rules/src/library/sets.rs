//! Lists as sets: `sets.contains`, `sets.equivalent`, `sets.intersects`. Metered, as each compares every element of one
//! list with every element of the other.

use cel::Env;
use cel::common::types::{CelBool, DYN_TYPE};
use cel::common::value::{CowVal, Val};

use super::{Declared, Result, lists};
use crate::meter::{METER_TYPE, Meter};
use crate::value;

pub(super) fn declare(env: &mut Env) -> Declared {
    let types = || vec![METER_TYPE.to_owned(), DYN_TYPE, DYN_TYPE];
    env.add_overload("@sets.contains", "@contains", types(), |args| {
        compare(&args, "sets.contains", contains)
    })?;
    env.add_overload("@sets.equivalent", "@equivalent", types(), |args| {
        compare(&args, "sets.equivalent", |left, right| {
            contains(left, right) && contains(right, left)
        })
    })?;
    env.add_overload("@sets.intersects", "@intersects", types(), |args| {
        compare(&args, "sets.intersects", |left, right| {
            left.iter().any(|item| holds(right, item.as_ref()))
        })
    })
}

type Items<'a, 'v> = &'a [Box<dyn Val + 'v>];

fn compare<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    function: &str,
    holds: impl Fn(Items<'_, 'v>, Items<'_, 'v>) -> bool,
) -> Result<CowVal<'b, 'v>> {
    let left = lists::elements(args, 1, function)?;
    let right = lists::elements(args, 2, function)?;
    let size = |list: Items<'_, 'v>| -> u64 {
        list.iter()
            .map(|item| value::size(item.as_ref(), u64::MAX))
            .sum()
    };
    let product = size(left).saturating_mul(size(right));
    Meter::of(args)?.charge(product)?;
    Ok(CowVal::owned(CelBool::from(holds(left, right))))
}

fn contains(list: Items<'_, '_>, part: Items<'_, '_>) -> bool {
    part.iter().all(|item| holds(list, item.as_ref()))
}

fn holds(list: Items<'_, '_>, wanted: &dyn Val) -> bool {
    list.iter().any(|item| item.equals(wanted))
}
