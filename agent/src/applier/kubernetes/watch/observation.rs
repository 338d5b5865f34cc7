//! What a work last observed of an object, and whether an event is news to it.

/// What the last access of a work to an object ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Observation {
    /// There was none since the agent started, and one will follow.
    Never,
    /// It failed: whatever happens next may help.
    Unknown,
    /// There was no object.
    Absent,
    /// The object in this version.
    At(Revision),
    /// The same, by an earlier process, and the print of the object if that is enough.
    Before(Revision, Option<Box<str>>),
}

/// What an event, a list or a poll says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ObjectEvent {
    /// It is there in this version, because it was listed.
    Listed(Revision),
    /// It became this version.
    Changed(Revision),
    /// It was gone as of this version; `None` when that is not known.
    Gone(Option<Revision>),
}

/// A `resourceVersion`. Servers write numbers that grow; others can only be compared for equality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision(Box<str>);

// === impl Observation ===

impl Observation {
    /// What counts as seen after an event; `None` when the event is no news.
    pub(crate) fn after(&self, event: &ObjectEvent) -> Option<Self> {
        let (now, is_news) = match (self, event) {
            (Self::Never, ObjectEvent::Listed(_) | ObjectEvent::Gone(_)) => return None,
            // Whichever came first: the cluster may have been restored meanwhile.
            (Self::Before(seen, _), ObjectEvent::Listed(at) | ObjectEvent::Changed(at)) => {
                (Self::At(at.clone()), at != seen)
            }
            (Self::At(seen), ObjectEvent::Listed(at) | ObjectEvent::Changed(at)) => {
                (Self::At(at.clone()), at.is_after(seen))
            }
            (_, ObjectEvent::Listed(at) | ObjectEvent::Changed(at)) => (Self::At(at.clone()), true),
            (Self::Absent, ObjectEvent::Gone(_)) => return None,
            (Self::At(seen), ObjectEvent::Gone(Some(at))) => (Self::Absent, at.is_after(seen)),
            (_, ObjectEvent::Gone(_)) => (Self::Absent, true),
        };
        is_news.then_some(now)
    }
}

// === impl ObjectEvent ===

impl ObjectEvent {
    /// The newest known version after this.
    pub(crate) fn newer_than(&self, last: Option<Revision>) -> Option<Revision> {
        match (self, last) {
            (Self::Listed(at) | Self::Changed(at), Some(last)) if !at.is_after(&last) => Some(last),
            (Self::Listed(at) | Self::Changed(at), _) => Some(at.clone()),
            (Self::Gone(Some(at)), Some(last)) if !at.is_after(&last) => Some(last),
            (Self::Gone(_), _) => None,
        }
    }
}

// === impl Revision ===

impl Revision {
    /// As the server wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is later; of versions that are no numbers, whether it is another.
    pub(crate) fn is_after(&self, other: &Self) -> bool {
        match (self.0.parse::<u64>(), other.0.parse::<u64>()) {
            (Ok(this), Ok(other)) => this > other,
            _ => self.0 != other.0,
        }
    }
}

impl From<&str> for Revision {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: &str) -> Revision {
        number.into()
    }

    #[test]
    fn only_later_versions_are_news() {
        let seen = Observation::At(at("10"));
        for (event, news) in [
            (ObjectEvent::Changed(at("10")), false),
            (ObjectEvent::Changed(at("9")), false),
            (ObjectEvent::Changed(at("11")), true),
            (ObjectEvent::Listed(at("11")), true),
            (ObjectEvent::Gone(Some(at("9"))), false),
            (ObjectEvent::Gone(Some(at("11"))), true),
            (ObjectEvent::Gone(None), true),
        ] {
            assert_eq!(seen.after(&event).is_some(), news, "{event:?}");
        }
        assert!(
            Observation::At(at("x"))
                .after(&ObjectEvent::Changed(at("y")))
                .is_some()
        );
        assert!(
            Observation::At(at("x"))
                .after(&ObjectEvent::Changed(at("x")))
                .is_none()
        );
    }

    #[test]
    fn what_an_earlier_process_saw_is_news_in_any_other_version() {
        let seen = Observation::Before(at("10"), None);
        for (event, news) in [
            (ObjectEvent::Listed(at("10")), false),
            (ObjectEvent::Listed(at("11")), true),
            (ObjectEvent::Listed(at("9")), true),
            (ObjectEvent::Changed(at("11")), true),
            (ObjectEvent::Gone(Some(at("11"))), true),
            (ObjectEvent::Gone(None), true),
        ] {
            assert_eq!(seen.after(&event).is_some(), news, "{event:?}");
        }
    }

    #[test]
    fn a_list_is_no_news_before_the_first_access_and_an_event_is() {
        assert!(
            Observation::Never
                .after(&ObjectEvent::Listed(at("1")))
                .is_none()
        );
        assert!(
            Observation::Never
                .after(&ObjectEvent::Changed(at("1")))
                .is_some()
        );
        assert!(
            Observation::Unknown
                .after(&ObjectEvent::Listed(at("1")))
                .is_some()
        );
        assert!(
            Observation::Absent
                .after(&ObjectEvent::Listed(at("1")))
                .is_some()
        );
        assert!(
            Observation::Absent
                .after(&ObjectEvent::Gone(None))
                .is_none()
        );
        assert!(
            Observation::Unknown
                .after(&ObjectEvent::Gone(None))
                .is_some()
        );
    }

    #[test]
    fn the_newest_version_is_kept() {
        let last = |text: &str| Some(at(text));
        assert_eq!(
            ObjectEvent::Changed(at("9")).newer_than(last("10")),
            last("10")
        );
        assert_eq!(
            ObjectEvent::Changed(at("11")).newer_than(last("10")),
            last("11")
        );
        assert_eq!(
            ObjectEvent::Gone(last("9")).newer_than(last("10")),
            last("10")
        );
        assert_eq!(ObjectEvent::Gone(last("11")).newer_than(last("10")), None);
    }
}
