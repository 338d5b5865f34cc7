//! Keeps what the control plane changed over a restart of the region.

use std::path::PathBuf;

use tracing::error;

use crate::broker::Registry;

/// A registry and the file that it is written to at the end.
pub(super) struct RegistryFile {
    registry: Registry,
    path: PathBuf,
}

// === impl RegistryFile ===

impl RegistryFile {
    pub(super) fn new(registry: Registry, path: PathBuf) -> Self {
        Self { registry, path }
    }

    /// Writes the file; the region is going down, so a failure is only logged.
    pub(super) fn save(&self) {
        if let Err(error) = self.registry.save(&self.path) {
            let error: &dyn std::error::Error = &error;
            error!(error, "What the control plane changed is lost");
        }
    }
}
