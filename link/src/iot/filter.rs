//! The grammar of topics and subscription filters: `+` is one level, `#` all further ones, `$share/NAME/` a group before
//! the filter. It exists here only; clients, the sandbox's broker and explanations of policies use it.
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
        .strip_prefix(SHARE)
        .and_then(|rest| rest.split_once('/'));
    match parts {
        Some((group, rest)) => (Some(group), rest),
        None => (None, filter),
    }
}

/// What makes a text no filter, as the end of a sentence that begins with it; `None` for a filter. Its length is not
/// looked at, and an empty text has nothing wrong with it here.
pub fn problem(text: &str) -> Option<&'static str> {
    let (share, filter) = split_share(text);
    match share {
        None if text.starts_with(SHARE) => return Some("has no filter after `$share/NAME/`"),
        Some("") => return Some("has an empty share name"),
        Some(name) if has_wildcard(name) => return Some("has a wildcard in its share name"),
        _ => {}
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        let problem = match level {
            "#" if !last => "has a `#` that is not the last level",
            "+" | "#" => continue,
            _ if level.contains('+') => "has a `+` that is not a whole level",
            _ if level.contains('#') => "has a `#` that is not a whole level",
            _ => continue,
        };
        return Some(problem);
    }
    None
}

/// Whether a text has a wildcard of MQTT in it, which no topic may have.
pub fn has_wildcard(text: &str) -> bool {
    text.contains(['+', '#'])
}

/// Whether a topic is for a rule alone, `$aws/rules/RULE/…`: no subscription gets what is published there.
pub fn is_basic_ingest(topic: &str) -> bool {
    topic.starts_with(BASIC_INGEST)
}

/// The part of a topic or filter that counts against IoT Core's limits: all but `$aws/rules/RULE/`
/// (docs/IOT-CORE.md §1.2). A share group must be split off before.
pub(super) fn counted(topic: &str) -> &str {
    topic
        .strip_prefix(BASIC_INGEST)
        .and_then(|rest| rest.split_once('/'))
        .map_or(topic, |(_, rest)| rest)
}

const SHARE: &str = "$share/";
const BASIC_INGEST: &str = "$aws/rules/";

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
            let _ = (matches(&filter, &topic), problem(&filter), counted(&topic));
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
