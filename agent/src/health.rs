//! One readiness check as the parts of the agent see it; `service` connects it to the admin server.

use std::sync::Arc;

/// Says whether a part can do its work, and if not, why.
#[derive(Clone)]
pub struct Health(Arc<dyn Fn(Result<(), String>) + Send + Sync>);

// === impl Health ===

impl Health {
    /// A check that tells `report` of every change.
    pub fn new(report: impl Fn(Result<(), String>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// A check nobody looks at.
    pub fn ignored() -> Self {
        Self::new(|_| {})
    }

    /// All is well.
    pub fn ok(&self) {
        (self.0)(Ok(()));
    }

    /// The part cannot do its work.
    pub fn failing(&self, why: impl Into<String>) {
        (self.0)(Err(why.into()));
    }
}
