//! What each bridge or agent has for itself although all share a process: metrics, readiness and their port.

use link::admin::{Admin, Checks};
use link::error::Failure;
use link::telemetry::register_build_info;
use prometheus::Registry;

/// The surroundings of one component.
pub(super) struct Part {
    /// What it is called in messages.
    pub(super) name: String,
    pub(super) registry: Registry,
    pub(super) checks: Checks,
    pub(super) admin: Admin,
}

// === impl Part ===

impl Part {
    /// Surroundings with their own port on loopback.
    pub(super) async fn new(component: &str, name: &str) -> Result<Self, Failure> {
        let registry = Registry::new();
        register_build_info(&registry, component).map_err(super::failed)?;
        Ok(Self {
            name: name.to_owned(),
            registry,
            checks: Checks::new(),
            admin: Admin::bind(([127, 0, 0, 1], 0).into()).await?,
        })
    }

    /// Base URL of `/livez`, `/readyz` and `/metrics`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.admin.local_addr())
    }
}
