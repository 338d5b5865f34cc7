//! The readiness check of the store.

use std::time::Duration;

use link::admin::Check;
use link::error::chain;
use link::supervise::{Restarts, restarting};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::store::{AnyStore, Store as _};

/// Says whether writes can be committed now, until `stop` is done.
pub(super) async fn watch_store(
    store: AnyStore,
    check: Check,
    restarts: Restarts,
    stop: CancellationToken,
) {
    restarting("store-check", &restarts, &stop, || {
        watch(store.clone(), check.clone(), stop.clone())
    })
    .await;
}

async fn watch(store: AnyStore, check: Check, stop: CancellationToken) {
    let mut tick = tokio::time::interval(STORE_CHECK);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let Some(answer) = stop
            .run_until_cancelled(timeout(STORE_ANSWER, store.ping()))
            .await
        else {
            return;
        };
        match answer {
            Ok(Ok(())) => check.ok(),
            Ok(Err(error)) => check.failing(chain(&error)),
            Err(_) => check.failing(format!(
                "the store did not commit within {} s",
                STORE_ANSWER.as_secs()
            )),
        }
    }
}

const STORE_CHECK: Duration = Duration::from_secs(5);

// A commit takes milliseconds, behind a full queue of large ones a second or two.
const STORE_ANSWER: Duration = Duration::from_secs(10);
