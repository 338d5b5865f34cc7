//! Semantic versions: `semver`, `isSemver` (strict, or lenient with `true`: a leading `v`, missing parts, leading
//! zeros), their parts and their order.

use std::cmp::Ordering;

use cel::Env;
use cel::common::types::{CelBool, CelInt, CelString, Type};

use super::opaque::{Content, Opaque};
use super::{Declared, Result, fails};

/// A version. Build metadata is checked and dropped: it takes no part in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Semver {
    core: [u64; 3],
    pre: Vec<Identifier>,
}

/// A dot-separated part of a pre-release; numbers come before texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

type Value = Opaque<Semver>;

// === impl Semver ===

impl Semver {
    fn parse(text: &str) -> Option<Self> {
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        let (core, pre) = match text.split_once('-') {
            Some((core, pre)) => (core, Some(pre)),
            None => (text, None),
        };
        let mut numbers = core.split('.').map(number);
        let core = [numbers.next()??, numbers.next()??, numbers.next()??];
        if numbers.next().is_some() {
            return None;
        }
        let known = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !build.is_none_or(|build| build.split('.').all(known)) {
            return None;
        }
        let identifier = |part: &str| {
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            match (known(part), digits) {
                (false, _) => None,
                (true, true) => number(part).map(Identifier::Number),
                (true, false) => Some(Identifier::Word(part.into())),
            }
        };
        let pre = pre.map_or(Some(Vec::new()), |pre| {
            pre.split('.').map(identifier).collect()
        })?;
        Some(Self { core, pre })
    }

    // What people write: `v1.2` for `1.2.0`.
    fn parse_lenient(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let mut parts: Vec<&str> = core
            .split('.')
            .map(|part| match part.trim_start_matches('0') {
                "" if !part.is_empty() => "0",
                trimmed => trimmed,
            })
            .collect();
        if parts.len() < 3 && !rest.is_empty() {
            return None;
        }
        while parts.len() < 3 {
            parts.push("0");
        }
        Self::parse(&format!("{}{rest}", parts.join(".")))
    }

    fn compare(&self, other: &Self) -> Ordering {
        let pre = match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        };
        self.core.cmp(&other.core).then(pre)
    }
}

impl Content for Semver {
    fn kind() -> &'static Type {
        &TYPE
    }
}

pub(super) fn declare(env: &mut Env) -> Declared {
    cel::add_overload!(env, fn semver: (CelString) -> Result<Value>)?;
    cel::add_overload!(env, fn semver_lenient: (CelString, CelBool) -> Result<Value>, name = "semver")?;
    cel::add_overload!(env, fn is_semver: (CelString) -> CelBool)?;
    cel::add_overload!(env, fn is_semver_lenient: (CelString, CelBool) -> CelBool, name = "isSemver")?;
    cel::add_member_overload!(env, fn major: (Value) -> CelInt)?;
    cel::add_member_overload!(env, fn minor: (Value) -> CelInt)?;
    cel::add_member_overload!(env, fn patch: (Value) -> CelInt)?;
    cel::add_member_overload!(env, fn is_less_than: (Value, Value) -> CelBool)?;
    cel::add_member_overload!(env, fn is_greater_than: (Value, Value) -> CelBool)?;
    cel::add_member_overload!(env, fn compare_to: (Value, Value) -> CelInt)
}

fn semver(text: &CelString<'_>) -> Result<Value> {
    semver_lenient(text, &false.into())
}

fn semver_lenient(text: &CelString<'_>, lenient: &CelBool) -> Result<Value> {
    parse(text, lenient).map(Opaque).ok_or_else(|| {
        fails(
            "semver",
            &format!("`{}` is no semantic version", text.inner()),
        )
    })
}

fn is_semver(text: &CelString<'_>) -> CelBool {
    is_semver_lenient(text, &false.into())
}

fn is_semver_lenient(text: &CelString<'_>, lenient: &CelBool) -> CelBool {
    parse(text, lenient).is_some().into()
}

fn major(this: &Value) -> CelInt {
    part(this, 0)
}

fn minor(this: &Value) -> CelInt {
    part(this, 1)
}

fn patch(this: &Value) -> CelInt {
    part(this, 2)
}

fn is_less_than(this: &Value, other: &Value) -> CelBool {
    (this.0.compare(&other.0) == Ordering::Less).into()
}

fn is_greater_than(this: &Value, other: &Value) -> CelBool {
    (this.0.compare(&other.0) == Ordering::Greater).into()
}

fn compare_to(this: &Value, other: &Value) -> CelInt {
    i64::from(this.0.compare(&other.0) as i8).into()
}

fn parse(text: &CelString<'_>, lenient: &CelBool) -> Option<Semver> {
    if *lenient.inner() {
        Semver::parse_lenient(text.inner())
    } else {
        Semver::parse(text.inner())
    }
}

fn part(version: &Value, at: usize) -> CelInt {
    i64::try_from(version.0.core[at]).unwrap_or(i64::MAX).into()
}

// A number as the standard allows it: digits without leading zeros.
fn number(text: &str) -> Option<u64> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

static TYPE: Type = Type::new_unspecified_type("kubernetes.Semver");
