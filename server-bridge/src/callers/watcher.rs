//! Background task that reloads certificate, CA and rule files and the keys of issuers, and checks when certificates expire.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use link::admin::Check;
use link::clock::Clock;
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::files::Look;
use super::tls::{Served, expired};
use super::token::keys::Keys;

/// The task behind an [`Access`](super::Access). Does nothing until [`CallersWatcher::run`] is polled.
pub struct CallersWatcher {
    looks: Arc<Mutex<Vec<Box<dyn Look>>>>,
    keys: Vec<Arc<Keys>>,
    expiries: Vec<(IntGauge, watch::Receiver<Arc<Served>>)>,
    check: Option<Check>,
    clock: Clock,
    every: Duration,
}

// === impl CallersWatcher ===

impl CallersWatcher {
    pub(super) fn new(
        looks: Vec<Box<dyn Look>>,
        keys: Vec<Arc<Keys>>,
        expiries: Vec<(IntGauge, watch::Receiver<Arc<Served>>)>,
        check: Option<Check>,
        clock: Clock,
        every: Duration,
    ) -> Self {
        let watcher = Self {
            looks: Arc::new(Mutex::new(looks)),
            keys,
            expiries,
            check,
            clock,
            every,
        };
        watcher.judge();
        watcher
    }

    /// Follows files and keys until `stop` is done.
    pub async fn run(self, stop: CancellationToken) {
        let keys = join_all(self.keys.iter().map(|keys| async move {
            loop {
                keys.refresh(Duration::ZERO).await;
                sleep(keys.every()).await;
            }
        }));
        let files = async {
            loop {
                sleep(self.every).await;
                self.look().await;
                self.judge();
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = files => {}
            _ = async { keys.await; std::future::pending::<()>().await } => {}
        }
    }

    async fn look(&self) {
        let looks = Arc::clone(&self.looks);
        // Off the runtime: a mount can hang.
        let looked = tokio::task::spawn_blocking(move || {
            let mut looks = looks.lock().unwrap_or_else(PoisonError::into_inner);
            for look in looks.iter_mut() {
                look.look();
            }
        });
        if looked.await.is_err_and(|ended| ended.is_panic()) {
            error!("Looking at the files of callers panicked; they are looked at again later");
        }
    }

    fn judge(&self) {
        let mut problem = None;
        for (gauge, served) in &self.expiries {
            let served = served.borrow();
            gauge.set(served.not_after.as_second());
            problem = problem.or_else(|| expired(&served, &self.clock));
        }
        if let Some(check) = &self.check {
            match problem {
                None => check.ok(),
                Some(problem) => check.failing(problem),
            }
        }
    }
}

impl std::fmt::Debug for CallersWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallersWatcher")
    }
}
