//! Single values as the sources write them, and the parsers that say what is wrong with one.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::iot::limits::MQTT_PORT;
use crate::telemetry::clip;

/// One value. The environment and flags only know text; YAML and JSON know more.
#[derive(Clone, PartialEq)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// Why a value was refused: `what` continues the sentence that begins with the key, `fix` is imperative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// For example "is 5, below 30".
    pub what: String,
    /// For example "write 30 to 1200".
    pub fix: String,
}

// === impl Scalar ===

impl Scalar {
    /// The value as text, for a message. Do not call it for a secret.
    pub fn display(&self) -> String {
        match self {
            Self::Text(text) => clip(text, SHOWN_BYTES).into_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(flag) => flag.to_string(),
        }
    }

    /// Whether the value is empty text, which means "not given".
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().is_empty())
    }

    /// The value where only text makes sense. A number is refused, because what YAML makes of `1.10` or
    /// `0123` is not what was written.
    ///
    /// # Errors
    /// The value is a number or a flag.
    pub fn text(&self) -> Result<String, Invalid> {
        let kind = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
        };
        Err(Invalid::new(
            format!("is read as {kind} where text is expected"),
            "put it in quotes",
        ))
    }

    /// The value as a whole number within `range`; `unit` names it in the message.
    ///
    /// # Errors
    /// No whole number, or outside the range.
    pub fn integer(&self, range: &RangeInclusive<i128>, unit: &str) -> Result<i128, Invalid> {
        let fix = format!("write {} to {}{unit}", range.start(), range.end());
        let number = match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Float(_) | Self::Bool(_) => None,
        };
        let Some(number) = number else {
            let what = format!("is `{}`, no whole number", self.display());
            return Err(Invalid::new(what, fix));
        };
        if number < *range.start() {
            let what = format!("is {number}, below {}", range.start());
            Err(Invalid::new(what, fix))
        } else if number > *range.end() {
            let what = format!("is {number}, above {}", range.end());
            Err(Invalid::new(what, fix))
        } else {
            Ok(number)
        }
    }

    /// The value as a duration within `range`: Go's duration text, or an integer of nanoseconds
    /// (docs/MAESTRO.md §1.5).
    ///
    /// # Errors
    /// No duration, or outside the range.
    pub fn duration(&self, range: &RangeInclusive<Duration>) -> Result<Duration, Invalid> {
        let fix = format!(
            "write {:?} to {:?}, for example `60s`",
            range.start(),
            range.end()
        );
        let nanoseconds = match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Float(_) | Self::Bool(_) => None,
        };
        let (duration, written) = match nanoseconds {
            Some(number) => {
                let duration = u64::try_from(number).ok().map(Duration::from_nanos);
                (duration, format!("is {number} nanoseconds"))
            }
            None => {
                let text = self.display();
                (parse_duration(&text), format!("is `{text}`"))
            }
        };
        match duration {
            None => Err(Invalid::new(format!("{written}, no duration"), fix)),
            Some(short) if short < *range.start() => Err(Invalid::new(
                format!("{written}, below {:?}", range.start()),
                fix,
            )),
            Some(long) if long > *range.end() => Err(Invalid::new(
                format!("{written}, above {:?}", range.end()),
                fix,
            )),
            Some(duration) => Ok(duration),
        }
    }
}

// === impl Invalid ===

impl Invalid {
    /// A refusal with its fix.
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// Parses Go's duration text (`1h30m`, `1.5s`, `250ms`); `None` for anything else, signs included, and for more than Go
/// has: 292 years, which every clock can be added to.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = next;
    }
    (total <= LONGEST).then_some(total)
}

const LONGEST: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// Parses `host:port` (a name, an IPv4 address, or an IPv6 address in brackets).
///
/// # Errors
/// [`Invalid`] says what is in the way: a scheme, a missing or impossible port, a path, credentials. A value
/// that may hold a password is not repeated.
pub fn parse_host_port(text: &str) -> Result<(String, u16), Invalid> {
    let text = text.trim();
    if text.contains('@') {
        return Err(Invalid::new(
            "holds `@`, so it looks like a URL with a user name",
            "write only host and port, for example `broker.example:8883`",
        ));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let address = rest.split(['/', '?']).next().unwrap_or_default();
        let address = if has_port(address) {
            address.to_owned()
        } else {
            format!("{address}:{MQTT_PORT}")
        };
        return Err(Invalid::new(
            format!("is `{text}`, with the scheme `{scheme}://`"),
            format!("write `{address}`"),
        ));
    }
    if text.contains('/') || text.chars().any(char::is_whitespace) {
        return Err(Invalid::new(
            format!("is `{text}`, which is no host and port"),
            "write for example `broker.example:8883`",
        ));
    }
    if !has_port(text) {
        let host = if text.parse::<Ipv6Addr>().is_ok() {
            format!("[{text}]")
        } else {
            text.trim_end_matches(':').to_owned()
        };
        return Err(Invalid::new(
            format!("is `{text}`, without a port"),
            format!("write `{host}:{MQTT_PORT}`"),
        ));
    }
    // `has_port` has found the colon.
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let port = port.parse::<u16>().ok().filter(|port| *port != 0);
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match port {
        None => Err(Invalid::new(
            format!("is `{text}`, whose port is not 1 to 65535"),
            format!("write `{host}:{MQTT_PORT}`"),
        )),
        Some(_) if bare.is_empty() => Err(Invalid::new(
            format!("is `{text}`, without a host"),
            "write for example `broker.example:8883`",
        )),
        Some(port) => Ok((bare.to_owned(), port)),
    }
}

/// Whether the text ends in a colon and something, and the colon is not part of a bare IPv6 address.
fn has_port(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((_, "")) | None => false,
        Some((host, _)) => !host.contains(':') || host.ends_with(']'),
    }
}

// A value in a message: enough to recognise it, whatever was written there.
const SHOWN_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_writes_them() {
        for (text, milliseconds) in [
            ("60s", Some(60_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("60", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("", None),
            ("1e9h", None),
            ("99999999999999999999h", None),
            ("2562047h47m", Some(9_223_372_020_000)),
            ("2562047h48m", None),
        ] {
            assert_eq!(
                parse_duration(text),
                milliseconds.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
