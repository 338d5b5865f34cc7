//! What a distributed control plane does not know yet: new resources that reads do not see, detachments that deletions
//! do not see.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Refusal;

/// Kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Resource {
    Certificate,
    Policy,
    Thing,
}

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Made,
    Detached,
}

/// Recent events by resource.
#[derive(Debug)]
pub(super) struct Settling {
    settle: Duration,
    until: Mutex<HashMap<(Event, Resource, String), Instant>>,
}

// === impl Settling ===

impl Settling {
    pub(super) fn new(settle: Duration) -> Self {
        Self {
            settle,
            until: Mutex::default(),
        }
    }

    /// A resource is new; reads see it later.
    pub(super) fn made(&self, resource: Resource, name: &str) {
        self.note(Event::Made, resource, name);
    }

    /// Something was detached from a resource; its deletion is refused for a while.
    pub(super) fn detached(&self, resource: Resource, name: &str) {
        self.note(Event::Detached, resource, name);
    }

    /// Whether reads see it.
    pub(super) fn sees(&self, resource: Resource, name: &str) -> bool {
        !self.pending(Event::Made, resource, name)
    }

    /// Refuses the deletion of what something was just detached from.
    ///
    /// # Errors
    /// As if it were still attached.
    pub(super) fn check_deletion(&self, resource: Resource, name: &str) -> Result<(), Refusal> {
        if !self.pending(Event::Detached, resource, name) {
            return Ok(());
        }
        Err(match resource {
            Resource::Certificate => Refusal::conflict(format!(
                "things and policies must be detached before deletion of certificate `{name}`"
            )),
            Resource::Policy => Refusal::conflict(format!(
                "policy `{name}` cannot be deleted as it is attached to one or more principals"
            )),
            Resource::Thing => Refusal::invalid(format!(
                "cannot delete; thing `{name}` is still attached to one or more principals"
            )),
        })
    }

    fn note(&self, event: Event, resource: Resource, name: &str) {
        if self.settle.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, at| *at > now);
        until.insert((event, resource, name.to_owned()), now + self.settle);
    }

    fn pending(&self, event: Event, resource: Resource, name: &str) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (event, resource, name.to_owned());
        until.get(&key).is_some_and(|at| *at > Instant::now())
    }
}
