//! What intake logs about events: never content of a payload, one line per kind of refusal and interval.

use std::time::Duration;

use jiff::Timestamp;
use link::event::Event;
use link::telemetry::{Throttle, clip};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Intake, RefusalReason, Refused, Taken};
use crate::uplink::Downlink;
use crate::work::{Head, Store};

impl<S: Store, D: Downlink> Intake<S, D> {
    pub(super) fn explain_taken(&self, head: &Head, taken: Taken) {
        self.metrics.taken(taken);
        let (id, version) = (&head.id, head.version);
        match (&head.rejected, taken) {
            // The problem may quote the payload.
            (Some(_), _) => warn!(
                resource.id = %id, resource.version = %version, source = head.source,
                "Rejected version {version} of work `{id}`; its status says why"
            ),
            (None, Taken::Deletion) => info!(
                resource.id = %id, source = head.source, latency_ms = self.age_ms(head.deleting_since),
                "Received the deletion of work `{id}`"
            ),
            (None, _) => info!(
                resource.id = %id, resource.version = %version, source = head.source,
                "Received version {version} of work `{id}`"
            ),
        }
    }

    pub(super) fn refuse(&self, topic: &str, event: Option<&Event>, refused: &Refused) {
        self.metrics.refused(refused.reason);
        self.note_refused(event, refused);
        let Some(held_back) = self.refusals.admit(&refused.reason, Instant::now()) else {
            return;
        };
        let name = |text: &str| clip(text, LOGGED).into_owned();
        warn!(
            topic,
            reason = refused.reason.as_str(),
            event.id = event.map(|event| name(&event.id)),
            source = event.map(|event| name(&event.source)),
            resource.id = event
                .and_then(|event| event.resource_id.as_deref())
                .map(name),
            held_back,
            "Refused an event: {}",
            clip(&refused.explanation, LOGGED)
        );
    }

    fn age_ms(&self, since: Option<Timestamp>) -> Option<i64> {
        let now = self.clock.now().as_millisecond();
        since.map(|since| now.saturating_sub(since.as_millisecond()).max(0))
    }
}

/// One log line for each kind of refusal and ten seconds, with a count of those held back.
pub fn refusal_lines() -> Throttle<RefusalReason> {
    Throttle::new(REFUSAL_LINES, RefusalReason::ALL.len())
}

const REFUSAL_LINES: Duration = Duration::from_secs(10);
// Bytes of a text of somebody else's in one log line.
const LOGGED: usize = 300;
