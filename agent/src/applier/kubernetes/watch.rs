//! Reports the works whose objects somebody else changed, by one metadata-only watch per kind.
//!
//! A kind is watched while works are interested in objects of it. Where the agent may not watch a kind in the whole
//! cluster it watches the namespaces of its objects, and where it may not do that either it reads the objects
//! one by one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::info;

use self::index::Scope;
use self::stream::{Ended, Stream};
use super::Inner;
use super::resource::Resource;
use crate::change::Change;

mod access;
mod index;
mod observation;
mod snapshot;
mod snapshots;
mod stream;
mod tracked;
mod wakeups;

pub(super) use access::ObjectAccess;
pub(super) use index::WatchIndex;
pub(super) use observation::ObjectEvent;
pub(super) use snapshot::ObjectSnapshot;

/// Sends changes until nobody listens.
pub(super) async fn run(inner: &Arc<Inner>, changes: mpsc::Sender<Change>) {
    let mut streams = Streams::default();
    loop {
        let shrinks = streams.adjust(inner);
        let (works, next) = inner.index.due(Instant::now());
        if !works.is_empty() && changes.send(Change::Works(works)).await.is_err() {
            return;
        }
        let alarm = [shrinks, next].into_iter().flatten().min();
        tokio::select! {
            () = inner.index.woken.notified() => {}
            () = inner.index.kinds_changed.notified() => {}
            () = sleep_until(alarm) => {}
            () = changes.closed() => return,
            Some(ended) = streams.tasks.join_next() => streams.ended(inner, ended),
        }
    }
}

/// The running streams; they end when this is dropped.
#[derive(Default)]
struct Streams {
    tasks: JoinSet<Ended>,
    running: HashMap<(Arc<Resource>, Scope), AbortHandle>,
    // Kinds of which it was logged that they are watched by namespace, or read.
    logged: HashSet<(Arc<Resource>, bool)>,
}

// === impl Streams ===

impl Streams {
    /// Starts what is needed and stops what is not; says when less may be needed.
    fn adjust(&mut self, inner: &Arc<Inner>) -> Option<Instant> {
        let (mut needed, shrinks) = inner.index.needed(Instant::now());
        needed.extend(inner.own_kinds().map(|kind| (kind, Scope::Cluster)));
        self.stop_others(&needed);
        for (resource, scope) in needed {
            let key = (Arc::clone(&resource), scope.clone());
            let tasks = &mut self.tasks;
            self.running.entry(key).or_insert_with(|| {
                let stream = Stream::new(Arc::clone(inner), resource, scope);
                tasks.spawn(stream.watch())
            });
        }
        shrinks
    }

    fn stop_others(&mut self, needed: &HashSet<(Arc<Resource>, Scope)>) {
        self.running.retain(|key, task| {
            let stays = needed.contains(key);
            if !stays {
                task.abort();
            }
            stays
        });
    }

    fn ended(&mut self, inner: &Arc<Inner>, ended: Result<Ended, JoinError>) {
        let Ended {
            resource,
            scope,
            polled,
        } = match ended {
            Ok(ended) => ended,
            // A kind that nobody watches any more must not go unnoticed.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        let plural = &resource.plural;
        let key = (Arc::clone(&resource), scope.clone());
        if polled {
            self.running.remove(&key);
            inner.index.narrow(&resource, false);
        } else if scope == Scope::Cluster && resource.namespaced {
            if self.logged.insert((Arc::clone(&resource), false)) {
                info!(
                    "May not watch {plural} in the whole cluster; watching the namespaces of held objects"
                );
            }
            self.running.remove(&key);
            inner.index.narrow(&resource, true);
        } else {
            if self.logged.insert((Arc::clone(&resource), true)) {
                let seconds = inner.poll.as_secs();
                info!("May not watch {plural}; reading those that are held every {seconds} s");
            }
            let stream = Stream::new(Arc::clone(inner), resource, scope);
            self.running.insert(key, self.tasks.spawn(stream.poll()));
        }
    }
}

async fn sleep_until(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => tokio::time::sleep_until(alarm).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
