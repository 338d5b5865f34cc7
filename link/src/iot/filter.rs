//! The grammar of subscription filters: `+` is one level, `#` all further ones, `$share/NAME/` a group before the filter.
//!
//! What a filter covers is what IoT Core says it covers. How long filter and name may be is in
//! [`limits`](super::limits), what a policy's pattern covers in [`wildcard`](super::wildcard).

/// Whether a message on `topic` goes to a subscription to `filter`; a `$share/NAME/` prefix is not part of it.
///
/// Differs from the MQTT standard where IoT Core does: `a/#` covers `a/` and `a/b` but not `a`
/// (docs/IOT-CORE.md §1.1). As in the standard, a wildcard at the first level never covers a `$` topic.
pub fn matches(filter: &str, topic: &str) -> bool {
    let (_, filter) = split_share(filter);
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

/// Splits `$share/NAME/FILTER` into the group name and the filter; any other filter has no group.
pub fn split_share(filter: &str) -> (Option<&str>, &str) {
    let parts = filter
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'));
    match parts {
        Some((group, rest)) => (Some(group), rest),
        None => (None, filter),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn filters_cover_what_iot_core_says_they_cover() {
        for (filter, topic, covered) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("+/+", "/b", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a/", true),
            ("a/#", "a", false),
            ("#", "a", true),
            ("#", "$aws/events", false),
            ("+/events", "$aws/events", false),
            ("$aws/#", "$aws/events", true),
            ("a/#/b", "a/x/b", false),
            ("$share/g/a/+", "a/b", true),
            ("$share/g/a/+", "$share/g/a/b", false),
            ("$share/g/#", "$aws/x", false),
            ("A", "a", false),
        ] {
            assert_eq!(matches(filter, topic), covered, "{filter} {topic}");
        }
    }

    /// The standard's rule read backwards, with IoT Core's exceptions, as slowly as possible.
    fn matches_slowly(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            ([], []) => true,
            (["#"], [_, ..]) => true,
            (["+", filter @ ..], [_, topic @ ..]) => matches_slowly(filter, topic),
            ([level, filter @ ..], [name, topic @ ..]) => {
                level == name && matches_slowly(filter, topic)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_none(filter in "\\PC{0,80}|[a-z$+#/-]{0,60}", topic in "\\PC{0,80}") {
            let _ = matches(&filter, &topic);
        }

        #[test]
        fn matching_agrees_with_the_slow_reading(
            filter in "([ab+]/){0,4}[ab+#]",
            topic in "([ab]?/){0,4}[ab]?",
        ) {
            let filter_levels: Vec<&str> = filter.split('/').collect();
            let topic_levels: Vec<&str> = topic.split('/').collect();
            prop_assert_eq!(matches(&filter, &topic), matches_slowly(&filter_levels, &topic_levels));
        }

        #[test]
        fn a_filter_covers_its_own_topics(
            levels in proptest::collection::vec("[a-z]{0,3}", 1..6),
            wild in proptest::collection::vec(any::<bool>(), 6),
        ) {
            let topic = levels.join("/");
            let filter: Vec<&str> = levels
                .iter()
                .zip(wild)
                .map(|(level, wild)| if wild { "+" } else { level.as_str() })
                .collect();
            prop_assert!(matches(&filter.join("/"), &topic));
        }
    }
}
