//! What all connections of one broker share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use link::iot::ArnPrefix;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::clients::Clients;
use super::environment::Environment;
use super::faults::{self, FaultSettings};
use super::hub::Hub;
use super::notices::Notices;
use super::packet::Message;
use super::presence::Presence;
use super::quota::ConnectLimiter;
use super::registry::Registry;

/// One broker's state.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) environment: Environment,
    pub(super) hub: Hub,
    pub(super) registry: Registry,
    pub(super) clients: Clients,
    pub(super) presence: Presence,
    pub(super) arn: ArnPrefix,
    pub(super) connects: Mutex<ConnectLimiter>,
    pub(super) notices: Arc<Notices>,
    links: AtomicU64,
    late_events: Arc<Semaphore>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        environment: Environment,
        registry: Registry,
        presence: Presence,
        arn: ArnPrefix,
    ) -> Self {
        Self {
            environment,
            hub: Hub::default(),
            registry,
            clients: Clients::default(),
            presence,
            arn,
            connects: Mutex::default(),
            notices: Arc::new(Notices::new()),
            links: AtomicU64::new(0),
            late_events: Arc::new(Semaphore::new(LATE_EVENTS)),
        }
    }

    /// The number of the next connection.
    pub(super) fn next_link(&self) -> u64 {
        self.links.fetch_add(1, Ordering::Relaxed)
    }

    /// Publishes a lifecycle event, if there is one.
    pub(super) fn publish_event(self: &Arc<Self>, event: Option<Message>) {
        let Some(event) = event.map(Arc::new) else {
            return;
        };
        let settings = self.environment.faults.get();
        self.publish_event_once(&event, &settings);
        if faults::happens(settings.event_duplicate) {
            self.publish_event_once(&event, &settings);
        }
    }

    fn publish_event_once(self: &Arc<Self>, event: &Arc<Message>, settings: &FaultSettings) {
        let late = settings.event_delay.map(faults::within);
        let room = self.late_events.clone().try_acquire_owned();
        let (Some(delay), Ok(room)) = (late, room) else {
            self.hub.publish(event, &self.environment);
            return;
        };
        let (shared, event) = (Arc::downgrade(self), event.clone());
        tokio::spawn(async move {
            sleep(delay).await;
            if let Some(shared) = shared.upgrade() {
                shared.hub.publish(&event, &shared.environment);
            }
            drop(room);
        });
    }
}

// Lifecycle events that wait at a time; more are sent at once.
const LATE_EVENTS: usize = 4096;
