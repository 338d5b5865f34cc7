//! What a work has seen of an object, and whether an event is news to it.

/// What the last look of a work at an object ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It has not looked since the agent started, and will.
    Never,
    /// The look failed: whatever happens next may help.
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
pub(crate) enum Sight {
    /// It is there in this version, because it was listed.
    Listed(Revision),
    /// It became this version.
    Became(Revision),
    /// It was gone as of this version; `None` when that is not told.
    Gone(Option<Revision>),
}

/// A `resourceVersion`. Servers write numbers that grow; others can only be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision(Box<str>);

// === impl Seen ===

impl Seen {
    /// What counts as seen after an event; `None` when the event is no news.
    pub(crate) fn after(&self, sight: &Sight) -> Option<Self> {
        let (now, is_news) = match (self, sight) {
            (Self::Never, Sight::Listed(_) | Sight::Gone(_)) => return None,
            // Whichever came first: the cluster may have been restored meanwhile.
            (Self::Before(seen, _), Sight::Listed(at) | Sight::Became(at)) => {
                (Self::At(at.clone()), at != seen)
            }
            (Self::At(seen), Sight::Listed(at) | Sight::Became(at)) => {
                (Self::At(at.clone()), at.is_after(seen))
            }
            (_, Sight::Listed(at) | Sight::Became(at)) => (Self::At(at.clone()), true),
            (Self::Absent, Sight::Gone(_)) => return None,
            (Self::At(seen), Sight::Gone(Some(at))) => (Self::Absent, at.is_after(seen)),
            (_, Sight::Gone(_)) => (Self::Absent, true),
        };
        is_news.then_some(now)
    }
}

// === impl Sight ===

impl Sight {
    /// The newest known version after this.
    pub(crate) fn newer_than(&self, last: Option<Revision>) -> Option<Revision> {
        match (self, last) {
            (Self::Listed(at) | Self::Became(at), Some(last)) if !at.is_after(&last) => Some(last),
            (Self::Listed(at) | Self::Became(at), _) => Some(at.clone()),
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
        let seen = Seen::At(at("10"));
        for (sight, news) in [
            (Sight::Became(at("10")), false),
            (Sight::Became(at("9")), false),
            (Sight::Became(at("11")), true),
            (Sight::Listed(at("11")), true),
            (Sight::Gone(Some(at("9"))), false),
            (Sight::Gone(Some(at("11"))), true),
            (Sight::Gone(None), true),
        ] {
            assert_eq!(seen.after(&sight).is_some(), news, "{sight:?}");
        }
        assert!(Seen::At(at("x")).after(&Sight::Became(at("y"))).is_some());
        assert!(Seen::At(at("x")).after(&Sight::Became(at("x"))).is_none());
    }

    #[test]
    fn what_an_earlier_process_saw_is_news_in_any_other_version() {
        let seen = Seen::Before(at("10"), None);
        for (sight, news) in [
            (Sight::Listed(at("10")), false),
            (Sight::Listed(at("11")), true),
            (Sight::Listed(at("9")), true),
            (Sight::Became(at("11")), true),
            (Sight::Gone(Some(at("11"))), true),
            (Sight::Gone(None), true),
        ] {
            assert_eq!(seen.after(&sight).is_some(), news, "{sight:?}");
        }
    }

    #[test]
    fn a_list_is_no_news_before_the_first_look_and_an_event_is() {
        assert!(Seen::Never.after(&Sight::Listed(at("1"))).is_none());
        assert!(Seen::Never.after(&Sight::Became(at("1"))).is_some());
        assert!(Seen::Unknown.after(&Sight::Listed(at("1"))).is_some());
        assert!(Seen::Absent.after(&Sight::Listed(at("1"))).is_some());
        assert!(Seen::Absent.after(&Sight::Gone(None)).is_none());
        assert!(Seen::Unknown.after(&Sight::Gone(None)).is_some());
    }

    #[test]
    fn the_newest_version_is_kept() {
        let last = |text: &str| Some(at(text));
        assert_eq!(Sight::Became(at("9")).newer_than(last("10")), last("10"));
        assert_eq!(Sight::Became(at("11")).newer_than(last("10")), last("11"));
        assert_eq!(Sight::Gone(last("9")).newer_than(last("10")), last("10"));
        assert_eq!(Sight::Gone(last("11")).newer_than(last("10")), None);
    }
}
