//! What one connection may do: the registry's policies seen through its certificate and CONNECT.
//!
//! Every decision looks at the policies in force at that moment, so an edit acts on live connections; outcomes
//! are remembered until the policies change, because a busy connection asks about the same few topics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use link::iot::{Context, PolicyAction, Request, Resource, evaluate};
use tokio::time::Instant;

use super::lock;
use super::notices::{Notice, Notices};
use super::registry::{Fingerprint, Grants, Registry};

/// The policy evaluator for one connection.
#[derive(Debug)]
pub(super) struct Permissions {
    registry: Registry,
    certificate: Fingerprint,
    context: Context,
    notices: Arc<Notices>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    grants: Arc<Grants>,
    allowed: HashMap<(&'static str, String), bool>,
}

// === impl Permissions ===

impl Permissions {
    pub(super) fn new(
        registry: Registry,
        certificate: Fingerprint,
        context: Context,
        notices: Arc<Notices>,
    ) -> Self {
        Self {
            registry,
            certificate,
            context,
            notices,
            known: Mutex::default(),
        }
    }

    /// Whether the certificate is still ACTIVE.
    pub(super) fn is_active(&self) -> bool {
        self.registry.is_active(&self.certificate)
    }

    pub(super) fn connects(&self) -> bool {
        self.allows(
            PolicyAction::Connect,
            Resource::Client(&self.context.client_id),
        )
    }

    /// A retained publish needs both actions (docs/IOT-CORE.md §1.7).
    pub(super) fn publishes(&self, topic: &str, retain: bool) -> bool {
        self.allows(PolicyAction::Publish, Resource::Topic(topic))
            && (!retain || self.allows(PolicyAction::RetainPublish, Resource::Topic(topic)))
    }

    /// The filter is matched as sent, with any `$share/<name>/` (docs/IOT-CORE.md §1.5).
    pub(super) fn subscribes(&self, filter: &str) -> bool {
        self.allows(PolicyAction::Subscribe, Resource::Filter(filter))
    }

    /// Receive is checked on the message's own topic. For shared subscriptions it is not known which name IoT
    /// Core checks (docs/IOT-CORE.md §1.5, §7); the plain topic is assumed.
    pub(super) fn receives(&self, topic: &str) -> bool {
        self.allows(PolicyAction::Receive, Resource::Topic(topic))
    }

    fn allows(&self, action: PolicyAction, resource: Resource<'_>) -> bool {
        let grants = self.registry.grants(Instant::now());
        let (Resource::Client(name) | Resource::Topic(name) | Resource::Filter(name)) = resource;
        let mut known = lock(&self.known);
        if !Arc::ptr_eq(&known.grants, &grants) {
            known.allowed.clear();
            known.grants = grants;
        }
        let key = (action.name(), name.to_owned());
        if let Some(allowed) = known.allowed.get(&key) {
            return *allowed;
        }
        let request = Request {
            action,
            resource,
            context: &self.context,
        };
        let decision = evaluate(known.grants.of(&self.certificate), &request);
        let allowed = decision.is_allowed();
        if !allowed {
            // What is unknown is refused too, and says which construct it is.
            let asked = format!("{} {} {name}", self.certificate, action.name());
            let text = format!("Denied: {}", decision.explain());
            self.notices
                .write(&Notice::Denied(asked), &self.context.client_id, text);
        }
        if known.allowed.len() >= REMEMBERED {
            known.allowed.clear();
        }
        known.allowed.insert(key, allowed);
        allowed
    }
}

// A bridge publishes to one topic per consumer; ten thousand consumers are more than one IoT Core
// connection serves.
const REMEMBERED: usize = 10_000;
