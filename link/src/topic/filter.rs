//! Which topics a subscription filter covers, the way IoT Core sees it.

/// Whether a message on `topic` goes to a subscription to `filter`; a `$share/NAME/` prefix is not part of it.
///
/// Differs from the MQTT standard where IoT Core does: `a/#` covers `a/` and `a/b` but not `a`
/// (docs/IOT-CORE.md §1.1). As in the standard, a wildcard at the first level never covers a `$` topic.
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    let (_, filter) = crate::iot::limits::split_share(filter);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    let mut wanted = filter.split('/');
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), Some(_)) => return wanted.next().is_none(),
            (Some("+"), Some(_)) => {}
            (Some(want), Some(level)) if want == level => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}
