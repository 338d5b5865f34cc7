//! Which messages are shown, as mosquitto_sub decides it. Pure.

use link::iot::filter;
use link::message::Message;

use crate::args::SubscribeArgs;

/// The options that leave messages out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'a> {
    filter_out: &'a [String],
    no_retained: bool,
    retained_only: bool,
    remove_retained: bool,
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Show {
        /// Whether what the broker retained on its topic is cleared.
        clear: bool,
    },
    /// It is left out, and stays at the broker.
    Hide,
    /// It is the first that was not retained, and nothing more is wanted.
    End,
}

// === impl Selection ===

impl<'a> Selection<'a> {
    pub(super) fn of(args: &'a SubscribeArgs) -> Self {
        Self {
            filter_out: &args.filter_out,
            no_retained: args.no_retained,
            retained_only: args.retained_only,
            remove_retained: args.remove_retained,
        }
    }

    pub(super) fn choose(&self, message: &Message) -> Choice {
        if self.retained_only && !message.retain {
            return Choice::End;
        }
        if self.is_out(&message.topic) || (self.no_retained && message.retain) {
            return Choice::Hide;
        }
        // An empty one has been cleared already; clearing it again would answer itself for ever.
        let clear = self.remove_retained && message.retain && !message.payload.is_empty();
        Choice::Show { clear }
    }

    // `a/#` covers `a` too, as in the standard and for mosquitto_sub: this broker's own reading does not matter here.
    fn is_out(&self, topic: &str) -> bool {
        self.filter_out.iter().any(|out| {
            let parent = out.strip_suffix("/#");
            filter::matches(out, topic) || parent.is_some_and(|it| filter::matches(it, topic))
        })
    }
}

// === impl Choice ===

impl Choice {
    pub(super) fn clears(self) -> bool {
        matches!(self, Self::Show { clear: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retained_messages_and_topics_are_left_out_cleared_or_the_end() {
        let all = Selection {
            filter_out: &[],
            no_retained: false,
            retained_only: false,
            remove_retained: false,
        };
        let outs = ["a/#".to_owned(), "b/+".to_owned()];
        let without = Selection {
            filter_out: &outs,
            remove_retained: true,
            ..all
        };
        let fresh = Selection {
            no_retained: true,
            remove_retained: true,
            ..all
        };
        let kept = Selection {
            retained_only: true,
            ..all
        };
        let show = Choice::Show { clear: false };
        let hide = Choice::Hide;
        for (selection, topic, retain, expected) in [
            (all, "a/b", true, show),
            (without, "a/b", true, hide),
            (without, "a", true, hide),
            (without, "b", true, Choice::Show { clear: true }),
            (without, "b/c", false, hide),
            (without, "b/c/d", false, show),
            (without, "c", true, Choice::Show { clear: true }),
            (fresh, "c", true, hide),
            (fresh, "c", false, show),
            (kept, "c", true, show),
            (kept, "c", false, Choice::End),
        ] {
            let message = Message {
                retain,
                ..Message::new(topic, "x")
            };
            assert_eq!(
                selection.choose(&message),
                expected,
                "{selection:?} {topic} {retain}"
            );
        }
    }
}
