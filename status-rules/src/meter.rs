//! The budget of an evaluation. The interpreter counts nothing, so [`rewrite`](super::rewrite) puts the calls declared
//! here around whatever costs more than a step: `@spend` around values that are copied, compared or walked, `@loop`
//! around what a comprehension iterates, `@pattern` around regular expressions. A text cannot call them: `@` begins no
//! name in CEL. Once the budget is spent every further call fails, so that no `||` keeps an evaluation alive.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::types::{CelInt, CelList, CelMap, CelMapKey, CelString, DYN_TYPE, INT_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use super::value;

/// What the rules of one manifest may cost together in one evaluation.
#[derive(Debug)]
pub(super) struct Budget(Arc<AtomicU64>);

/// What one call may cost; shared by all that is called for it.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    left: Arc<AtomicU64>,
}

/// Why an evaluation was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    /// One expression costs too much.
    Call,
    /// All rules of the manifest cost too much.
    Manifest,
}

// === impl Budget ===

impl Budget {
    /// The whole budget of a manifest.
    pub(super) fn of_manifest() -> Self {
        Self(Arc::new(AtomicU64::new(MANIFEST_LIMIT)))
    }

    /// A meter for one call, holding no more than is left for the manifest.
    pub(super) fn call(&self) -> Meter {
        let left = self.0.load(Ordering::Relaxed).min(CALL_LIMIT);
        Meter {
            left: Arc::new(AtomicU64::new(left)),
        }
    }

    /// Takes what a call has cost off the budget, and returns an error when it went too far.
    pub(super) fn settle(&self, meter: &Meter) -> Result<(), Exceeded> {
        let before = self.0.load(Ordering::Relaxed);
        let granted = before.min(CALL_LIMIT);
        let left = meter.left.load(Ordering::Relaxed);
        let spent = if left == SPENT {
            granted
        } else {
            granted - left
        };
        self.0.store(before - spent, Ordering::Relaxed);
        match left {
            SPENT if granted < CALL_LIMIT => Err(Exceeded::Manifest),
            SPENT => Err(Exceeded::Call),
            _ => Ok(()),
        }
    }
}

// === impl Exceeded ===

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Call => write!(
                f,
                "costs more than {CALL_LIMIT} steps; look at fewer or smaller values"
            ),
            Self::Manifest => write!(
                f,
                "was given up: the rules of this manifest cost more than {MANIFEST_LIMIT} steps together"
            ),
        }
    }
}

// === impl Meter ===

impl Meter {
    /// Takes `cost` off what is left.
    ///
    /// # Errors
    /// When too little is left; nothing is left then.
    pub(super) fn charge(&self, cost: u64) -> Result<(), ExecutionError> {
        let left = self.left.load(Ordering::Relaxed);
        if left == SPENT || left < cost {
            self.left.store(SPENT, Ordering::Relaxed);
            return Err(ExecutionError::InternalError("out of budget".into()));
        }
        self.left.store(left - cost, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the size of a value off what is left.
    ///
    /// # Errors
    /// As [`charge`](Self::charge).
    pub(super) fn charge_size(&self, value: &dyn Val) -> Result<(), ExecutionError> {
        let left = self.left.load(Ordering::Relaxed);
        let limit = if left == SPENT { 0 } else { left };
        self.charge(value::size(value, limit))
    }

    /// The meter that a rewritten call brings as its first argument.
    ///
    /// # Errors
    /// When there is none, which no rewritten call does.
    pub(super) fn of<'a>(args: &'a [CowVal<'_, '_>]) -> Result<&'a Self, ExecutionError> {
        args.first()
            .and_then(|arg| arg.downcast_ref::<Self>())
            .ok_or_else(|| ExecutionError::InternalError("call without a meter".into()))
    }
}

impl Val for Meter {
    fn get_type(&self) -> &Type {
        &METER_TYPE
    }

    fn cel_type() -> &'static Type {
        &METER_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

/// Declares the calls of the rewriter.
///
/// # Errors
/// When one of them is declared already.
pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(SPEND, SPEND, vec![METER_TYPE.to_owned(), DYN_TYPE], spend)?;
    env.add_overload(
        LOOP,
        LOOP,
        vec![METER_TYPE.to_owned(), DYN_TYPE, INT_TYPE],
        iterate,
    )?;
    env.add_overload(
        PATTERN,
        PATTERN,
        vec![METER_TYPE.to_owned(), DYN_TYPE],
        pattern,
    )
}

/// The variable that holds the meter.
pub(super) const METER: &str = "@meter";
/// `@spend(meter, value)`: the value, its size charged.
pub(super) const SPEND: &str = "@spend";
/// `@loop(meter, range, cost of one turn)`: the range, all its turns charged before the first.
pub(super) const LOOP: &str = "@loop";
/// `@pattern(meter, pattern)`: the regular expression, its compilation charged.
pub(super) const PATTERN: &str = "@pattern";
/// The type of the meter.
pub(super) static METER_TYPE: Type = Type::new_unspecified_type("@meter");

fn spend<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args.pop().ok_or_else(missing)?;
    Meter::of(&args)?.charge_size(value.as_ref())?;
    Ok(value)
}

// Keys of a map come sorted: the crate walks them in an order that differs from run to run.
fn iterate<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let turn = args.pop().ok_or_else(missing)?;
    let range = args.pop().ok_or_else(missing)?;
    let turn = turn
        .downcast_ref::<CelInt>()
        .map_or(1, |cost| *cost.inner());
    let turns = range
        .as_sizer()
        .map_or(0, |sizer| sizer.size().into_inner());
    let meter = Meter::of(&args)?;
    meter.charge_size(range.as_ref())?;
    meter.charge(u64::try_from(turns.saturating_mul(turn)).unwrap_or(u64::MAX))?;
    let Some(map) = range.downcast_ref::<CelMap>() else {
        return Ok(range);
    };
    let mut keys: Vec<&CelMapKey<'_>> = map.inner().keys().collect();
    keys.sort();
    let keys: Vec<Box<dyn Val + 'v>> = keys
        .into_iter()
        .map(|key| key.inner().clone_as_boxed())
        .collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

fn pattern<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let pattern = args.pop().ok_or_else(missing)?;
    if let Some(text) = pattern.downcast_ref::<CelString>() {
        Meter::of(&args)?.charge(compilation(text.inner()))?;
    }
    Ok(pattern)
}

// Matching is linear, but a counted repetition multiplies what is compiled, and a class of letters is large:
// `(\w{100}){100}` asks for millions of states.
fn compilation(pattern: &str) -> u64 {
    let classes = pattern
        .split('\\')
        .skip(1)
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
        .count();
    let states = pattern
        .len()
        .saturating_add(classes.saturating_mul(CLASS_STATES));
    let cost = u64::try_from(states)
        .unwrap_or(u64::MAX)
        .saturating_mul(STATE_COST);
    pattern
        .split('{')
        .skip(1)
        .flat_map(|rest| rest.split(['}', ',']).take(2))
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .fold(cost, |cost, count| cost.saturating_mul(count.max(1)))
}

fn missing() -> ExecutionError {
    ExecutionError::missing_argument_or_target()
}

// Upstream's numbers. A step is a node of the syntax evaluated, or ten bytes of text touched.
const CALL_LIMIT: u64 = 1_000_000;
const MANIFEST_LIMIT: u64 = 10_000_000;
const STATE_COST: u64 = 10;
const CLASS_STATES: usize = 100;
// Says that more was asked for than was left; no count of steps comes near it.
const SPENT: u64 = u64::MAX;

#[cfg(test)]
mod tests;
