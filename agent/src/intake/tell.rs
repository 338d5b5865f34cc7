//! What intake notes for the agent's reports on itself: which source wants them, what was refused, and what is refused no
//! longer.

use link::event::agent_report::is_wanted;
use link::event::{Action, Event, Kind};
use link::id::ConsumerName;

use super::{Intake, Refused};
use crate::self_report::SeenEvent;
use crate::uplink::Downlink;
use crate::work::{Head, Store};

impl<S: Store, D: Downlink> Intake<S, D> {
    /// A status request says whether its source wants reports. A source that is not allowed to send is heard as well: it
    /// learns why nothing of it arrives.
    pub(super) fn note_asked(&self, event: &Event, topic_consumer: Option<&ConsumerName>) {
        let is_ours = topic_consumer == Some(&self.rules.consumer);
        if is_ours && event.kind == Kind::status(Action::ResyncRequest) {
            self.register.asked(&event.source, is_wanted(event));
        }
    }

    /// An event without an id is about no bundle that anybody could ask for.
    pub(super) fn note_refused(&self, event: Option<&Event>, refused: &Refused) {
        let Some(event) = event else { return };
        let Some(id) = event.resource_id.as_deref().filter(|id| !id.is_empty()) else {
            return;
        };
        let seen = SeenEvent {
            source: &event.source,
            id,
            version: event.resource_version,
        };
        let (why, now) = (&refused.explanation, self.clock.now());
        self.register.refused(seen, refused.reason, why, now);
    }

    /// A work that cannot be held is refused when it is to be made durable.
    pub(super) fn note_declined(&self, head: &Head, refused: &Refused) {
        let seen = SeenEvent {
            source: &head.source,
            id: head.id.as_str(),
            version: Some(head.version),
        };
        let (why, now) = (&refused.explanation, self.clock.now());
        self.register.refused(seen, refused.reason, why, now);
    }

    pub(super) fn note_taken(&self, head: &Head) {
        if head.deleting_since.is_some() {
            self.register.deleted(head.id.as_str());
        } else {
            self.register
                .taken(&head.source, head.id.as_str(), head.version);
        }
    }
}
