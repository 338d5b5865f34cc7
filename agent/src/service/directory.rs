//! Directories of this machine as the backend of an agent.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use link::error::Failure;
use tracing::info;

use crate::applier::directory::Directory;
use crate::work::Files;

/// Works in one directory, objects in another.
pub(super) struct Directories {
    pub(super) store: Arc<Files>,
    pub(super) applier: Directory,
}

// === impl Directories ===

impl Directories {
    pub(super) fn open(root: &Path, state_dir: &Path, sweep: Duration) -> Result<Self, Failure> {
        let opened = Files::open(state_dir)?;
        info!(
            works = opened.works,
            damaged = opened.quarantined.len(),
            state_dir = %state_dir.display(),
            "Opened the state directory"
        );
        Ok(Self {
            store: Arc::new(opened.store),
            applier: Directory::open(root, &state_dir.join("ownership"), sweep)?,
        })
    }
}
