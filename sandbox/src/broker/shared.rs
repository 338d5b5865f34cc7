//! What all connections of one broker share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use link::iot::ArnPrefix;

use super::clients::Clients;
use super::environment::Environment;
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
        }
    }

    /// The number of the next connection.
    pub(super) fn next_link(&self) -> u64 {
        self.links.fetch_add(1, Ordering::Relaxed)
    }

    /// Publishes a lifecycle event, if there is one.
    pub(super) fn publish_event(&self, event: Option<Message>) {
        if let Some(event) = event {
            self.hub.publish(&Arc::new(event), &self.environment);
        }
    }
}
