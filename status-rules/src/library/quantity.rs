//! Kubernetes quantities (`100m`, `1.5Gi`, `2e3`), kept as whole billionths: the API rounds to nothing finer.

use cel::Env;
use cel::common::types::{CelBool, CelDouble, CelInt, CelString, Type};

use super::opaque::{Content, Opaque};
use super::{Declared, Result, fails};

/// An amount, in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(i128);

type Value = Opaque<Quantity>;

impl Content for Quantity {
    fn kind() -> &'static Type {
        &TYPE
    }
}

pub(super) fn declare(env: &mut Env) -> Declared {
    cel::add_overload!(env, fn quantity: (CelString) -> Result<Value>)?;
    cel::add_overload!(env, fn is_quantity: (CelString) -> CelBool)?;
    cel::add_member_overload!(env, fn sign: (Value) -> CelInt)?;
    cel::add_member_overload!(env, fn is_integer: (Value) -> CelBool)?;
    cel::add_member_overload!(env, fn as_integer: (Value) -> Result<CelInt>)?;
    cel::add_member_overload!(env, fn as_approximate_float: (Value) -> CelDouble)?;
    cel::add_member_overload!(env, fn add: (Value, Value) -> Result<Value>)?;
    cel::add_member_overload!(env, fn add_int: (Value, CelInt) -> Result<Value>, name = "add")?;
    cel::add_member_overload!(env, fn sub: (Value, Value) -> Result<Value>)?;
    cel::add_member_overload!(env, fn sub_int: (Value, CelInt) -> Result<Value>, name = "sub")?;
    cel::add_member_overload!(env, fn is_less_than: (Value, Value) -> CelBool)?;
    cel::add_member_overload!(env, fn is_greater_than: (Value, Value) -> CelBool)?;
    cel::add_member_overload!(env, fn compare_to: (Value, Value) -> CelInt)
}

/// Reads a quantity; `None` when the text is none, or one beyond 10²⁹.
pub(super) fn parse(text: &str) -> Option<Quantity> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (multiplier, exponent) = scale(suffix)?;
    // digits × multiplier × 10^(exponent + 9 - digits of the fraction), rounded away from zero.
    let power = exponent + NANO_DIGITS - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.checked_mul(multiplier)?;
    let ten = 10_i128.checked_pow(power.unsigned_abs());
    let amount = if power >= 0 {
        match (scaled, ten) {
            (0, _) => 0,
            (scaled, ten) => scaled.checked_mul(ten?)?,
        }
    } else {
        // A divisor beyond i128 leaves less than a billionth.
        ten.map_or(i128::from(scaled != 0), |ten| {
            scaled / ten + i128::from(scaled % ten != 0)
        })
    };
    Some(Quantity(if negative { -amount } else { amount }))
}

// What a suffix multiplies by: a factor, and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    const KI: i128 = 1024;
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (KI, 0),
        "Mi" => (KI.pow(2), 0),
        "Gi" => (KI.pow(3), 0),
        "Ti" => (KI.pow(4), 0),
        "Pi" => (KI.pow(5), 0),
        "Ei" => (KI.pow(6), 0),
        scientific => {
            let exponent = scientific.strip_prefix(['e', 'E'])?;
            let exponent: i32 = exponent.parse().ok()?;
            (
                1,
                (-MAX_EXPONENT..=MAX_EXPONENT)
                    .contains(&exponent)
                    .then_some(exponent)?,
            )
        }
    })
}

fn quantity(text: &CelString<'_>) -> Result<Value> {
    parse(text.inner())
        .map(Opaque)
        .ok_or_else(|| fails("quantity", &format!("`{}` is no quantity", text.inner())))
}

fn is_quantity(text: &CelString<'_>) -> CelBool {
    parse(text.inner()).is_some().into()
}

fn sign(this: &Value) -> CelInt {
    i64::try_from(this.0.0.signum()).unwrap_or_default().into()
}

fn is_integer(this: &Value) -> CelBool {
    whole(this.0).is_some().into()
}

fn as_integer(this: &Value) -> Result<CelInt> {
    whole(this.0)
        .map(CelInt::from)
        .ok_or_else(|| fails("asInteger", "the quantity is no whole number of 64 bits"))
}

fn as_approximate_float(this: &Value) -> CelDouble {
    (this.0.0 as f64 / NANO as f64).into()
}

fn add(this: &Value, other: &Value) -> Result<Value> {
    sum("add", this, Some(other.0.0))
}

fn add_int(this: &Value, other: &CelInt) -> Result<Value> {
    sum("add", this, i128::from(*other.inner()).checked_mul(NANO))
}

fn sub(this: &Value, other: &Value) -> Result<Value> {
    sum("sub", this, other.0.0.checked_neg())
}

fn sub_int(this: &Value, other: &CelInt) -> Result<Value> {
    sum("sub", this, i128::from(*other.inner()).checked_mul(-NANO))
}

fn sum(function: &str, this: &Value, other: Option<i128>) -> Result<Value> {
    other
        .and_then(|other| this.0.0.checked_add(other))
        .map(|sum| Opaque(Quantity(sum)))
        .ok_or_else(|| fails(function, "the result is too large"))
}

fn is_less_than(this: &Value, other: &Value) -> CelBool {
    (this.0 < other.0).into()
}

fn is_greater_than(this: &Value, other: &Value) -> CelBool {
    (this.0 > other.0).into()
}

fn compare_to(this: &Value, other: &Value) -> CelInt {
    i64::from(this.0.cmp(&other.0) as i8).into()
}

fn whole(quantity: Quantity) -> Option<i64> {
    (quantity.0 % NANO == 0)
        .then(|| i64::try_from(quantity.0 / NANO).ok())
        .flatten()
}

static TYPE: Type = Type::new_unspecified_type("kubernetes.Quantity");
const NANO: i128 = 1_000_000_000;
const NANO_DIGITS: i32 = 9;
// Beyond it nothing fits, or nothing is left.
const MAX_EXPONENT: i32 = 1000;
