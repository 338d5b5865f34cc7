//! Which topics and filters the broker takes, with the reason codes of its refusals. The grammar itself, its limits and
//! what a filter covers are `link::iot::filter`'s and `link::iot::limits`'.

use link::iot::filter;
use link::iot::limits;

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
    /// 0x8F for what IoT Core does not take as a filter, and for reserved `$` names other than `$aws/…`
    /// (docs/IOT-CORE.md §1.2, §1.3; the code for `$SYS` is a second-hand report).
    pub(super) fn parse(text: &str) -> Result<Self, Reason> {
        limits::check_filter(text).map_err(|_| Reason::TOPIC_FILTER_INVALID)?;
        let (share, pattern) = filter::split_share(text);
        if pattern.starts_with('$') && !pattern.starts_with("$aws/") {
            return Err(Reason::TOPIC_FILTER_INVALID);
        }
        Ok(Self {
            share: share.map(str::to_owned),
            pattern: pattern.to_owned(),
        })
    }

    /// Whether it holds a wildcard. Wildcard and shared subscriptions never see a stored retained message
    /// (docs/IOT-CORE.md §1.2).
    pub(super) fn has_wildcard(&self) -> bool {
        filter::has_wildcard(&self.pattern)
    }

    /// Whether a topic matches.
    pub(super) fn matches(&self, topic: &str) -> bool {
        filter::matches(&self.pattern, topic)
    }
}

/// Whether a topic may be published to.
///
/// # Errors
/// 0x90 for what IoT Core does not take as a topic, and for a reserved `$` topic that is not modelled here
/// (docs/IOT-CORE.md §2 point 9).
pub(super) fn check_topic(topic: &str) -> Result<(), Reason> {
    // Basic ingest goes to a rule and to no subscriber; other `$aws` topics belong to services we do not play.
    let reserved = topic.starts_with('$') && !filter::is_basic_ingest(topic);
    if reserved || limits::check_topic(topic).is_err() {
        return Err(Reason::TOPIC_NAME_INVALID);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_topics_and_what_iot_core_does_not_take_are_refused() {
        for (topic, taken) in [
            ("a/b/c/d/e/f/g/h", true),
            ("a/b/c/d/e/f/g/h/i", false),
            ("$aws/rules/r/a/b/c/d/e/f/g/h", true),
            ("$aws/things/a/shadow/update", false),
            ("$SYS/a", false),
            ("a/+", false),
            ("", false),
        ] {
            assert_eq!(check_topic(topic).is_ok(), taken, "{topic}");
        }
        for (filter, taken) in [
            ("$share/g/a/b/c/d/e/f/g/+", true),
            ("a/b/c/d/e/f/g/h/#", false),
            ("$share/g+/a", false),
            ("$share/g/$SYS/#", false),
            ("$SYS/#", false),
            ("$aws/events/presence/#", true),
            ("a#", false),
            ("#/a", false),
        ] {
            assert_eq!(Filter::parse(filter).is_ok(), taken, "{filter}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_is_never_a_panic(text in ".{0,300}") {
            let _ = check_topic(&text);
            let _ = Filter::parse(&text);
            let _ = Filter::parse(&format!("$share/{text}"));
        }
    }
}
