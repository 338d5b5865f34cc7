//! Registers the listed consumers at start.

use std::path::Path;
use std::time::Duration;

use link::clock::Clock;
use link::error::{Failure, chain};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::preload;
use crate::store::{AnyStore, Store as _};

/// Those of `file` that are not registered yet. A database that is busy with the bridges that run is waited for.
pub(super) async fn register_listed(
    store: &AnyStore,
    file: &Path,
    clock: &Clock,
) -> Result<(), Failure> {
    let listed = preload::read(file)?;
    let began = Instant::now();
    let new = loop {
        match store.ensure_consumers(listed.clone(), clock.now()).await {
            Err(error) if error.is_retryable() && began.elapsed() < PATIENCE => {
                warn!(
                    "The listed consumers could not be registered yet: {}",
                    chain(&error)
                );
                sleep(AGAIN).await;
            }
            done => break done?,
        }
    };
    info!(new, file = %file.display(), "Registered the listed consumers");
    Ok(())
}

// As long as the first connection is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(1);
