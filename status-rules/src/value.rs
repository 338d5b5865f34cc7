//! Objects as CEL sees them. Texts are borrowed from the JSON; whole numbers are `int` as in Go's unstructured objects,
//! so that `object.spec.replicas + 1` needs no conversion.

use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional,
    CelString,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use serde_json::{Number, Value};

/// The object that rules are asked about, brought into CEL once for all of them.
pub(super) struct Subject<'a>(Box<dyn Val + 'a>);

// === impl Subject ===

impl<'a> Subject<'a> {
    /// Brings an object into CEL.
    pub(super) fn of(object: &'a Value) -> Self {
        Self(of_json(object))
    }
}

impl VariableResolver for Subject<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        (variable == "object").then(|| CowVal::Borrowed(self.0.as_ref()))
    }
}

// The CEL value of a JSON value.
fn of_json(json: &Value) -> Box<dyn Val + '_> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(value) => of_number(value),
        Value::String(value) => Box::new(CelString::from(value.as_str())),
        Value::Array(items) => {
            let items: Vec<Box<dyn Val + '_>> = items.iter().map(of_json).collect();
            Box::new(CelList::from(items))
        }
        Value::Object(fields) => {
            let fields: HashMap<CelMapKey<'_>, Box<dyn Val + '_>> = fields
                .iter()
                .map(|(name, value)| (CelMapKey::from(name.as_str()), of_json(value)))
                .collect();
            Box::new(CelMap::from(fields))
        }
    }
}

/// The size of a value in cost units: one per node and one per ten bytes of text, counted no further than `limit`.
pub(super) fn size(value: &dyn Val, limit: u64) -> u64 {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return 1 + text_size(text.inner().len());
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        return 1 + text_size(bytes.inner().len());
    }
    let mut total = 1;
    if let Some(list) = value.downcast_ref::<CelList>() {
        for item in list.inner() {
            if total > limit {
                break;
            }
            total += size(item.as_ref(), limit - total);
        }
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        for (key, item) in map.inner() {
            if total > limit {
                break;
            }
            total += size(key.inner(), 0) + size(item.as_ref(), limit - total);
        }
    } else if let Some(inner) = value
        .downcast_ref::<CelOptional>()
        .and_then(CelOptional::option)
    {
        total += size(inner, limit);
    }
    total
}

/// The size of so many bytes of text in cost units, as upstream counts it.
pub(super) fn text_size(bytes: usize) -> u64 {
    u64::try_from(bytes / BYTES_PER_UNIT).unwrap_or(u64::MAX)
}

fn of_number(number: &Number) -> Box<dyn Val> {
    match number.as_i64() {
        Some(value) => Box::new(CelInt::from(value)),
        None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
    }
}

/// Bytes of text that cost one unit.
pub(super) const BYTES_PER_UNIT: usize = 10;
