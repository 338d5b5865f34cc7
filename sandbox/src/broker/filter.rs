//! Topic and filter grammar as IoT Core has it, and what matches what. Pure.

use super::limits::Limits;
use super::packet::Reason;

/// A subscription filter, with the share group taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// The group of `$share/<group>/…`.
    pub(super) share: Option<String>,
    /// The filter proper.
    pub(super) pattern: String,
}

// === impl Filter ===

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// 0x8F for bad grammar, a filter beyond 256 bytes or 7 slashes, a bad share name, and for reserved `$`
    /// names other than `$aws/…` (docs/IOT-CORE.md §1.2, §1.3; the code for `$SYS` is a second-hand report).
    pub(super) fn parse(text: &str, limits: &Limits) -> Result<Self, Reason> {
        let invalid = Reason::TOPIC_FILTER_INVALID;
        let (share, pattern) = match text.strip_prefix("$share/") {
            Some(rest) => {
                let (name, pattern) = rest.split_once('/').ok_or(invalid)?;
                let bad = |c| matches!(c, '+' | '#');
                if name.is_empty() || name.chars().count() > SHARE_NAME_CHARS || name.contains(bad)
                {
                    return Err(invalid);
                }
                (Some(name.to_owned()), pattern)
            }
            None => (None, text),
        };
        let reserved = pattern.starts_with('$') && !pattern.starts_with("$aws/");
        if reserved || !well_formed(pattern) || !fits(pattern, text, limits) {
            return Err(invalid);
        }
        Ok(Self {
            share,
            pattern: pattern.to_owned(),
        })
    }

    /// Whether it holds a wildcard. Wildcard and shared subscriptions never see a stored retained message
    /// (docs/IOT-CORE.md §1.2).
    pub(super) fn has_wildcard(&self) -> bool {
        self.pattern.contains(['+', '#'])
    }

    /// Whether a topic matches.
    pub(super) fn matches(&self, topic: &str) -> bool {
        matches(&self.pattern, topic)
    }
}

/// Whether a topic may be published to.
///
/// # Errors
/// 0x90 for a wildcard, an empty name, more than 256 bytes or 7 slashes, or a reserved `$` topic that is not
/// modelled here (docs/IOT-CORE.md §2 point 9).
pub(super) fn check_topic(topic: &str, limits: &Limits) -> Result<(), Reason> {
    // Basic ingest goes to a rule and to no subscriber; other `$aws` topics belong to services we do not play.
    let reserved = topic.starts_with('$') && !topic.starts_with(BASIC_INGEST);
    if topic.is_empty()
        || reserved
        || topic.contains(['+', '#', '\0'])
        || !fits(topic, topic, limits)
    {
        return Err(Reason::TOPIC_NAME_INVALID);
    }
    Ok(())
}

/// Whether a message on this topic reaches subscribers at all.
pub(super) fn is_basic_ingest(topic: &str) -> bool {
    topic.starts_with(BASIC_INGEST)
}

/// `a/#` matches `a/`, `a/b` and below but, unlike the standard, not `a` (docs/IOT-CORE.md §1.1, V). A wildcard in
/// the first level does not match `$…`.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        let name = topic_levels.next();
        match (level, name) {
            ("#", name) => return name.is_some(),
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

fn well_formed(pattern: &str) -> bool {
    if pattern.is_empty() || pattern.contains('\0') {
        return false;
    }
    let levels: Vec<&str> = pattern.split('/').collect();
    levels.iter().enumerate().all(|(at, level)| match *level {
        "+" => true,
        "#" => at + 1 == levels.len(),
        name => !name.contains(['+', '#']),
    })
}

fn fits(counted: &str, whole: &str, limits: &Limits) -> bool {
    let slashes = counted.matches('/').count();
    // The three levels of `$aws/rules/<rule>/` are free (docs/IOT-CORE.md §1.2).
    let free = if is_basic_ingest(counted) { 3 } else { 0 };
    whole.len() <= limits.topic_bytes && slashes.saturating_sub(free) <= limits.topic_slashes
}

const BASIC_INGEST: &str = "$aws/rules/";
const SHARE_NAME_CHARS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multi_level_filter_does_not_match_its_parent() {
        assert!(!matches("a/#", "a"));
        for topic in ["a/", "a/b", "a/b/c"] {
            assert!(matches("a/#", topic), "{topic}");
        }
        assert!(matches("#", "a"));
        assert!(!matches("#", "$aws/events/x"));
        assert!(!matches("+/events/x", "$aws/events/x"));
        assert!(matches("a/+/c", "a/b/c"));
        assert!(!matches("a/+", "a"));
        assert!(!matches("a/+", "a/b/c"));
        assert!(matches("a/+", "a/"));
    }

    #[test]
    fn topics_and_filters_end_at_256_bytes_and_7_slashes() {
        let limits = Limits::IOT_CORE;
        assert!(check_topic("a/b/c/d/e/f/g/h", &limits).is_ok());
        assert!(check_topic("a/b/c/d/e/f/g/h/i", &limits).is_err());
        assert!(check_topic(&"a".repeat(256), &limits).is_ok());
        assert!(check_topic(&"a".repeat(257), &limits).is_err());
        assert!(check_topic("$aws/rules/r/a/b/c/d/e/f/g/h", &limits).is_ok());
        assert!(Filter::parse("$share/g/a/b/c/d/e/f/g/+", &limits).is_ok());
        assert!(Filter::parse("a/b/c/d/e/f/g/h/#", &limits).is_err());
        assert!(Filter::parse("$share/g+/a", &limits).is_err());
        assert!(Filter::parse("$SYS/#", &limits).is_err());
        assert!(Filter::parse("$aws/events/presence/#", &limits).is_ok());
        assert!(Filter::parse("a#", &limits).is_err());
        assert!(Filter::parse("#/a", &limits).is_err());
    }

    /// The standard's rule read backwards, plus IoT Core's exceptions, as slowly as possible.
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

    proptest::proptest! {
        #[test]
        fn arbitrary_text_is_never_a_panic(text in ".{0,300}") {
            let limits = Limits::IOT_CORE;
            let _ = check_topic(&text, &limits);
            let _ = Filter::parse(&text, &limits);
            let _ = Filter::parse(&format!("$share/{text}"), &limits);
        }

        #[test]
        fn matching_agrees_with_the_slow_reading(
            filter in "([ab+]/){0,4}[ab+#]",
            topic in "([ab]?/){0,4}[ab]?",
        ) {
            let filter_levels: Vec<&str> = filter.split('/').collect();
            let topic_levels: Vec<&str> = topic.split('/').collect();
            proptest::prop_assert_eq!(
                matches(&filter, &topic),
                matches_slowly(&filter_levels, &topic_levels)
            );
        }
    }
}
