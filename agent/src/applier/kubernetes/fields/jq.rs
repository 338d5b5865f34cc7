//! Fields by jq path expression: `path(EXPRESSION)` over the manifest.
//!
//! An expression comes with a work from elsewhere and must neither hang the agent nor fill its memory. So the
//! language is cut down to what finds fields (`language`), in which nothing can be gathered, bound, defined or
//! computed: memory is bounded by the expression and by the distinct paths, which are bounded by the manifest.
//! What is left can still take long, because generators multiply (`..|..|..|select(false)` yields nothing for
//! minutes). Therefore `language` puts the filter `tick` behind every generator, and `tick` ends the run when the
//! time is up. Between two ticks lies at most one pass over the manifest.

use std::collections::BTreeSet;
use std::iter::once;
use std::time::{Duration, Instant};

use jaq_core::compile::Compiler;
use jaq_core::data::HasLut;
use jaq_core::load::parse::Def;
use jaq_core::load::{Arena, File, Loader, parse};
use jaq_core::native::Fun;
use jaq_core::{Ctx, DataT, Error, Exn, Lut, Native, Vars};
use jaq_json::{Num, Val};
use serde::Deserialize as _;
use serde_json::Value;

use super::path::{FieldPath, PathSegment};

mod language;

/// The paths an expression yields, without those where there is nothing.
///
/// # Errors
/// A phrase that says what is wrong with the expression. Values of the document are never quoted.
pub(super) fn find(expression: &str, document: &Value) -> Result<BTreeSet<FieldPath>, String> {
    find_within(expression, document, TIME_LIMIT)
}

fn find_within(
    expression: &str,
    document: &Value,
    limit: Duration,
) -> Result<BTreeSet<FieldPath>, String> {
    let rule = Def {
        name: RULE,
        args: Vec::new(),
        body: language::read(expression)?,
    };
    let prelude = parse(PRELUDE, |parser| parser.defs()).unwrap_or_default();
    let arena = Arena::default();
    let program = File {
        code: PROGRAM,
        path: (),
    };
    let modules = Loader::new(prelude.into_iter().chain([rule]))
        .load(&arena, program)
        .map_err(|_| "cannot be loaded")?;
    let filter = Compiler::default()
        .with_funs(natives())
        .compile(modules)
        .map_err(|_| "cannot be compiled")?;
    let input = Val::deserialize(document).map_err(|_| "cannot read the manifest")?;
    let meter = Meter {
        lut: &filter.lut,
        // A monotonic stop watch, not a time of day: it decides nothing but when to give up.
        deadline: Instant::now() + limit,
    };
    let mut paths = BTreeSet::new();
    for output in filter
        .id
        .run((Ctx::<Metered>::new(meter.clone(), Vars::new([])), input))
    {
        match output {
            Ok(Val::Arr(segments)) => {
                resolve(
                    document,
                    0,
                    None,
                    &segments,
                    &mut FieldPath::new(),
                    &mut paths,
                );
            }
            Ok(_) => return Err("yields something that is no path".into()),
            Err(_) if meter.is_over() => {
                return Err(format!("takes longer than {} ms", limit.as_millis()));
            }
            // The message of the library quotes the value, which may be a secret.
            Err(_) => {
                return Err(
                    "does not fit the manifest: it is no path, or it looks into a value of another type (write \
                     `?` behind a step that may find none, as in `.spec.list[]?`)"
                        .into(),
                );
            }
        }
    }
    Ok(paths)
}

// Follows the steps of a path. After a slice, `offset` and `length` say which part of the array is meant.
fn resolve(
    at: &Value,
    offset: usize,
    length: Option<usize>,
    segments: &[Val],
    path: &mut FieldPath,
    paths: &mut BTreeSet<FieldPath>,
) {
    let Some((first, rest)) = segments.split_first() else {
        match length {
            None => drop(paths.insert(path.clone())),
            Some(length) => paths.extend((offset..offset + length).map(|index| {
                let mut path = path.clone();
                path.push(PathSegment::Index(index));
                path
            })),
        }
        return;
    };
    let whole = at.as_array().map_or(0, Vec::len);
    let length = length.unwrap_or(whole);
    let segment = match first {
        Val::TStr(key) => String::from_utf8(key.to_vec()).ok().map(PathSegment::Key),
        Val::Num(Num::Int(index)) => {
            element(*index, length).map(|index| PathSegment::Index(offset + index))
        }
        Val::Obj(slice) if at.is_array() => {
            let bound = |name: &str, default: usize| match slice.get(&Val::from(name.to_owned())) {
                Some(Val::Num(Num::Int(bound))) => clamp(*bound, length),
                _ => default,
            };
            let (start, end) = (bound("start", 0), bound("end", length));
            let length = end.saturating_sub(start);
            resolve(at, offset + start, Some(length), rest, path, paths);
            return;
        }
        _ => None,
    };
    if let Some(segment) = segment
        && let Some(value) = segment.child_of(at)
    {
        path.push(segment);
        resolve(value, 0, None, rest, path, paths);
        path.pop();
    }
}

fn element(index: isize, length: usize) -> Option<usize> {
    let index = match index {
        0.. => index.unsigned_abs(),
        _ => length.checked_sub(index.unsigned_abs())?,
    };
    (index < length).then_some(index)
}

fn clamp(bound: isize, length: usize) -> usize {
    match bound {
        0.. => bound.unsigned_abs().min(length),
        _ => length.saturating_sub(bound.unsigned_abs()),
    }
}

/// Data of a run: the program and when it has to end.
struct Metered;

#[derive(Clone)]
struct Meter<'a> {
    lut: &'a Lut<Metered>,
    deadline: Instant,
}

// === impl Meter ===

impl Meter<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn check(&self) -> Result<(), Exn<'static, Val>> {
        match self.is_over() {
            true => Err(Exn::from(Error::str("out of time"))),
            false => Ok(()),
        }
    }
}

impl DataT for Metered {
    type V<'a> = Val;
    type Data<'a> = Meter<'a>;
}

impl<'a> HasLut<'a, Metered> for Meter<'a> {
    fn lut(&self) -> &'a Lut<Metered> {
        self.lut
    }
}

// The filters of the language that jq text cannot define; all others of the libraries stay out.
fn natives() -> impl Iterator<Item = Fun<Metered>> {
    let tick = Native::<Metered>::new(|(ctx, value)| {
        let checked = ctx.data().check();
        Box::new(once(checked.map(|()| value)))
    })
    .with_paths(|(ctx, located)| {
        let checked = ctx.data().check();
        Box::new(once(checked.map(|()| located)))
    });
    jaq_core::funs()
        .chain(jaq_std::base_funs())
        .chain(jaq_json::funs())
        .filter(|(name, _, _)| NATIVES.contains(name))
        .chain([(language::TICK, Box::default(), tick)])
}

const NATIVES: [&str; 8] = [
    "path",
    "first",
    "last",
    "has",
    "contains",
    "length",
    "startswith",
    "endswith",
];
const RULE: &str = "rule";
const PROGRAM: &str = "path(rule)";
// As the library defines them, with what this language has.
const PRELUDE: &str = r#"
def empty: {}[] as $x | .;
def true: 0 == 0;
def false: 0 != 0;
def null: [][0];
def not: if . then false else true end;
def select(f): if f then . else empty end;
def first: .[0];
def last: .[-1];
def isempty(g): first((g | false), true);
def any(f): isempty(.[] | f or empty) | not;
def all(f): isempty(.[] | f and empty);
def type: if . == null then "null" elif . == true or . == false then "boolean" elif . < "" then "number"
  elif . < [] then "string" elif . < {} then "array" else "object" end;
"#;
const TIME_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
