//! Times and durations: `timestamp`, `duration`, their arithmetic, order and parts. The crate has its own behind a
//! feature that brings a second library of time; these stand on the one the agent has.

use std::cmp::Ordering;

use cel::Env;
use cel::common::types::{CelInt, CelString, DURATION_TYPE, STRING_TYPE, TIMESTAMP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use super::opaque::{Content, Opaque};
use super::{Declared, Result, arg, fails, text};

type Time = Opaque<Timestamp>;
type Span = Opaque<SignedDuration>;

impl Content for Timestamp {
    fn kind() -> &'static Type {
        &TIMESTAMP
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    fn plus(&self, other: &dyn Val) -> Option<Result<Box<dyn Val>>> {
        let span = other.downcast_ref::<Span>()?;
        Some(time(self.checked_add(span.0).ok()))
    }

    fn minus(&self, other: &dyn Val) -> Option<Result<Box<dyn Val>>> {
        if let Some(other) = other.downcast_ref::<Time>() {
            return Some(span(Some(self.duration_since(other.0))));
        }
        let span = other.downcast_ref::<Span>()?;
        Some(time(self.checked_sub(span.0).ok()))
    }
}

impl Content for SignedDuration {
    fn kind() -> &'static Type {
        &DURATION
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    fn plus(&self, other: &dyn Val) -> Option<Result<Box<dyn Val>>> {
        if let Some(other) = other.downcast_ref::<Time>() {
            return Some(time(other.0.checked_add(*self).ok()));
        }
        let other = other.downcast_ref::<Span>()?;
        Some(span(self.checked_add(other.0)))
    }

    fn minus(&self, other: &dyn Val) -> Option<Result<Box<dyn Val>>> {
        let other = other.downcast_ref::<Span>()?;
        Some(span(self.checked_sub(other.0)))
    }
}

pub(super) fn declare(env: &mut Env) -> Declared {
    env.add_type(TIMESTAMP_TYPE)?;
    env.add_type(DURATION_TYPE)?;
    cel::add_overload!(env, fn timestamp: (CelString) -> Result<Time>)?;
    cel::add_overload!(env, fn timestamp_of_seconds: (CelInt) -> Result<Time>, name = "timestamp")?;
    cel::add_overload!(env, fn same_time: (Time) -> Time, name = "timestamp")?;
    cel::add_overload!(env, fn duration: (CelString) -> Result<Span>)?;
    cel::add_overload!(env, fn same_span: (Span) -> Span, name = "duration")?;
    cel::add_overload!(env, fn seconds: (Time) -> CelInt, name = "int")?;
    cel::add_overload!(env, fn time_text: (Time) -> CelString, name = "string")?;
    cel::add_overload!(env, fn span_text: (Span) -> CelString, name = "string")?;
    // A function of the crate carries no data, so each part has its own.
    macro_rules! parts {
        ($($name:literal => $part:expr),* $(,)?) => {$(
            let id = concat!("timestamp.", $name);
            env.add_member_overload($name, id, TIMESTAMP_TYPE, vec![], |args| part(&args, $part))?;
            let id = concat!("timestamp.", $name, "(string)");
            env.add_member_overload($name, id, TIMESTAMP_TYPE, vec![STRING_TYPE], |args| part(&args, $part))?;
        )*};
    }
    parts! {
        "getFullYear" => |at| at.year().into(),
        "getMonth" => |at| i64::from(at.month()) - 1,
        "getDate" => |at| at.day().into(),
        "getDayOfMonth" => |at| i64::from(at.day()) - 1,
        "getDayOfYear" => |at| i64::from(at.day_of_year()) - 1,
        "getDayOfWeek" => |at| at.weekday().to_sunday_zero_offset().into(),
        "getHours" => |at| at.hour().into(),
        "getMinutes" => |at| at.minute().into(),
        "getSeconds" => |at| at.second().into(),
        "getMilliseconds" => |at| at.millisecond().into(),
    }
    cel::add_member_overload!(env, fn span_hours: (Span) -> CelInt, name = "getHours")?;
    cel::add_member_overload!(env, fn span_minutes: (Span) -> CelInt, name = "getMinutes")?;
    cel::add_member_overload!(env, fn span_seconds: (Span) -> CelInt, name = "getSeconds")?;
    cel::add_member_overload!(env, fn span_milliseconds: (Span) -> CelInt, name = "getMilliseconds")
}

fn timestamp(text: &CelString<'_>) -> Result<Time> {
    let time = text.inner().parse().map(Opaque);
    time.map_err(|_| {
        fails(
            "timestamp",
            &format!("`{}` is no time of RFC 3339", text.inner()),
        )
    })
}

fn timestamp_of_seconds(seconds: &CelInt) -> Result<Time> {
    let time = Timestamp::from_second(*seconds.inner()).map(Opaque);
    time.map_err(|_| fails("timestamp", "so many seconds are beyond the year 9999"))
}

fn same_time(this: &Time) -> Time {
    this.clone()
}

fn duration(text: &CelString<'_>) -> Result<Span> {
    parse(text.inner()).map(Opaque).ok_or_else(|| {
        fails(
            "duration",
            &format!("`{}` is no duration such as 1h30m", text.inner()),
        )
    })
}

fn same_span(this: &Span) -> Span {
    this.clone()
}

fn seconds(this: &Time) -> CelInt {
    this.0.as_second().into()
}

fn time_text(this: &Time) -> CelString<'static> {
    this.0.to_string().into()
}

// Seconds, as CEL writes them: `5400s`, `-1.5s`.
fn span_text(this: &Span) -> CelString<'static> {
    let (whole, nanos) = (
        this.0.as_secs().unsigned_abs(),
        this.0.subsec_nanos().unsigned_abs(),
    );
    let sign = if this.0.is_negative() { "-" } else { "" };
    let text = format!("{sign}{whole}.{nanos:09}");
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.')).into()
}

fn span_hours(this: &Span) -> CelInt {
    this.0.as_hours().into()
}

fn span_minutes(this: &Span) -> CelInt {
    this.0.as_mins().into()
}

fn span_seconds(this: &Span) -> CelInt {
    this.0.as_secs().into()
}

fn span_milliseconds(this: &Span) -> CelInt {
    i64::from(this.0.subsec_millis()).into()
}

fn part<'b, 'v>(args: &[CowVal<'b, 'v>], of: fn(&Zoned) -> i64) -> Result<CowVal<'b, 'v>> {
    let time = arg::<Time>(args, 0, "timestamp")?;
    let zone = match args.get(1) {
        Some(_) => zone(text(args, 1, "timestamp")?)?,
        None => TimeZone::UTC,
    };
    Ok(CowVal::owned(CelInt::from(of(&time.0.to_zoned(zone)))))
}

// `UTC`, an offset (`+02:00`), or a name of the system's time zones.
fn zone(name: &str) -> Result<TimeZone> {
    let offset = || {
        let (hours, minutes) = name.split_once(':')?;
        let (hour, minute): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        let minutes = if hours.starts_with('-') {
            -minute
        } else {
            minute
        };
        let offset = Offset::from_seconds(hour * 3600 + minutes * 60).ok()?;
        (hour.abs() < 24 && (0..60).contains(&minute)).then(|| TimeZone::fixed(offset))
    };
    match name {
        "" | "UTC" | "Z" => Some(TimeZone::UTC),
        name if name.contains(':') => offset(),
        name => TimeZone::get(name).ok(),
    }
    .ok_or_else(|| fails("timestamp", &format!("there is no time zone `{name}`")))
}

// Go's grammar: a sign, then numbers with units.
fn parse(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut total: i128 = 0;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (nanos, after) = UNITS
            .iter()
            .find_map(|(unit, nanos)| Some((*nanos, after.strip_prefix(unit)?)))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        total = total.checked_add(digits.checked_mul(nanos)? / scale)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let total = sign * total;
    let (seconds, nanos) = (total / NANOS, total % NANOS);
    let seconds = i64::try_from(seconds).ok()?;
    Some(SignedDuration::new(seconds, i32::try_from(nanos).ok()?))
}

fn time(time: Option<Timestamp>) -> Result<Box<dyn Val>> {
    let time = time.ok_or_else(|| fails("timestamp", "the result is beyond the year 9999"))?;
    Ok(Box::new(Opaque(time)))
}

fn span(span: Option<SignedDuration>) -> Result<Box<dyn Val>> {
    let span = span.ok_or_else(|| fails("duration", "the result is too long"))?;
    Ok(Box::new(Opaque(span)))
}

static TIMESTAMP: Type = TIMESTAMP_TYPE;
static DURATION: Type = DURATION_TYPE;
const NANOS: i128 = 1_000_000_000;
// Longer units before those they begin with.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS),
    ("m", 60 * NANOS),
    ("h", 3600 * NANOS),
];
