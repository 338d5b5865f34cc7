//! The only place that reads the wall clock, so that everything else takes time as an argument.

use std::sync::Arc;

use jiff::Timestamp;

/// A source of wall-clock time. Tests pass a fixed or stepped one.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

// === impl Clock ===

impl Clock {
    /// The system's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that always shows the same time.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Arc::new(move || at))
    }

    /// A clock read through a function.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// RFC 3339 with whole seconds and `Z`, as Kubernetes writes condition times.
pub fn rfc3339_seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// RFC 3339 with nanoseconds, trailing zeros trimmed, and `Z`, as Go's `RFC3339Nano` and the CloudEvents
/// SDK write `time` (docs/MAESTRO.md §1.3).
pub fn rfc3339_nanos(at: Timestamp) -> String {
    let nanos = at.subsec_nanosecond();
    if nanos == 0 {
        return rfc3339_seconds(at);
    }
    let text = at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string();
    let digits = text.trim_end_matches('Z').trim_end_matches('0');
    format!("{digits}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanosecond_text_trims_trailing_zeros() {
        let at: Timestamp = "2026-11-23T09:22:41.364043540Z".parse().unwrap();
        assert_eq!(rfc3339_nanos(at), "2026-11-23T09:22:41.36404354Z");
        assert_eq!(rfc3339_seconds(at), "2026-11-23T09:22:41Z");
        let whole: Timestamp = "2026-11-23T09:22:41Z".parse().unwrap();
        assert_eq!(rfc3339_nanos(whole), "2026-11-23T09:22:41Z");
    }
}
