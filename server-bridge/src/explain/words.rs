//! Names of hops, and how spans of time, sizes and objects are written in sentences.

use jiff::Timestamp;
use serde_json::Value;

pub(super) const STORED: &str = "stored";
pub(super) const PUBLISHED: &str = "published";
pub(super) const ACKNOWLEDGED: &str = "acknowledged";
pub(super) const RECEIVED: &str = "received";
pub(super) const APPLIED: &str = "applied";
pub(super) const REPORTED: &str = "reported";
pub(super) const AVAILABLE: &str = "available";
pub(super) const DELETED: &str = "deleted";

/// How long ago something was, in its two largest units; `0 s` for what is to come.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(then).as_secs().max(0))
}

/// In how long something will be.
pub(super) fn until(then: Timestamp, now: Timestamp) -> String {
    ago(now, then)
}

fn span(seconds: i64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    let two = |large: i64, unit: &str, small: i64, smaller: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {smaller}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, minutes) => two(minutes, "min", rest, "s"),
        (0, hours, _) => two(hours, "h", minutes, "min"),
        (days, ..) => two(days, "d", hours, "h"),
    }
}

/// A time in a sentence: whole seconds, UTC.
pub(super) fn at(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}

/// A manifest by kind, namespace and name.
pub(super) fn manifest(manifest: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &manifest["metadata"];
    object(
        &text(&manifest["kind"]),
        &text(&metadata["namespace"]),
        &text(&metadata["name"]),
    )
}

/// An object as people write it.
pub(super) fn object(kind: &str, namespace: &str, name: &str) -> String {
    match namespace {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}

/// `a bundle` or `3 bundles`.
pub(super) fn bundles(count: u64) -> String {
    match count {
        1 => "1 bundle".to_owned(),
        count => format!("{count} bundles"),
    }
}
