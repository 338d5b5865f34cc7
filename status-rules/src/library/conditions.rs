//! `hasConditions(object)`: whether `object.status.conditions` is a list, so that macros may go over it.

use cel::Env;
use cel::common::types::{CelBool, CelList, CelMap, CelMapKey, DYN_TYPE};
use cel::common::value::{CowVal, Val};

use super::{Declared, Result};

pub(super) fn declare(env: &mut Env) -> Declared {
    env.add_overload("hasConditions", "has_conditions", vec![DYN_TYPE], |args| {
        has_conditions(&args)
    })
}

fn has_conditions<'b, 'v>(args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>> {
    let has = args
        .first()
        .and_then(|object| field(object.as_ref(), "status"))
        .and_then(|status| field(status, "conditions"))
        .is_some_and(|conditions| conditions.downcast_ref::<CelList>().is_some());
    Ok(CowVal::owned(CelBool::from(has)))
}

fn field<'a, 'v>(value: &'a (dyn Val + 'v), name: &'static str) -> Option<&'a (dyn Val + 'v)> {
    let map: &'a CelMap<'v> = value.downcast_ref::<CelMap<'_>>()?;
    map.inner().get(&CelMapKey::from(name)).map(AsRef::as_ref)
}
