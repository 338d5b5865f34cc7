//! Supervision of long-lived tasks: each is restarted and counted, or ends the process with the name of the task.
//!
//! A task that panics unnoticed would leave a process that looks healthy and does half its work. [`restarting`] is for a
//! task that can be restarted from what it borrows, [`TaskGroup`] for tasks that cannot.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use crate::backoff::Backoff;
use crate::error::Hint;
use crate::telemetry::{clip, register};

/// Counts the tasks that were restarted, as `task_restarts_total{task}`.
#[derive(Clone, Debug)]
pub struct Restarts(Option<IntCounterVec>);

/// Tasks that cannot be restarted: the first that panics, or ends before `stop` is cancelled, cancels `stop`. Dropped,
/// it aborts them all.
#[derive(Debug)]
pub struct TaskGroup {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    first: Arc<Mutex<Option<TaskDied>>>,
}

/// A task that must not end has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task `{task}` died: {cause}")]
pub struct TaskDied {
    /// The task's name.
    pub task: &'static str,
    /// What its panic said, bounded, or that it returned.
    pub cause: String,
}

/// How a task of [`TaskGroup`] ends when it does not panic: with nothing, or with the death of one of its own tasks,
/// which is passed on under that task's name.
pub trait TaskOutcome: Send + 'static {
    /// The death of an inner task.
    fn into_death(self) -> Option<TaskDied>;
}

/// Runs `make()` in a task of its own. When that panics, or returns before `stop` is cancelled, it is logged at error
/// with the task's name, counted, and restarted after a jittered delay of 100 ms doubling to 30 s; the delay starts
/// over after a minute without an end. Returns once `stop` is cancelled and the task has returned; dropped, it aborts
/// the task.
pub async fn restarting<F, Fut>(
    task: &'static str,
    restarts: &Restarts,
    stop: &CancellationToken,
    mut make: F,
) where
    F: FnMut() -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY, HEALTHY_AFTER);
    loop {
        let started = Instant::now();
        let cause = match std::panic::catch_unwind(AssertUnwindSafe(&mut make)) {
            Err(panic) => panic_text(panic.as_ref()),
            Ok(future) => match AbortOnDropHandle::new(tokio::spawn(future)).await {
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => RETURNED.to_owned(),
                Err(error) => join_text(error),
            },
        };
        died(task, &cause);
        if stop.is_cancelled() {
            return;
        }
        restarts.count(task);
        let delay = backoff.next_jittered(started.elapsed());
        tokio::select! {
            () = sleep(delay) => {}
            () = stop.cancelled() => return,
        }
    }
}

// === impl Restarts ===

impl Restarts {
    /// Creates and registers the counter.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = Opts::new(
            "task_restarts_total",
            "Tasks that died and were made again, by name",
        );
        let counter = IntCounterVec::new(options, &["task"])?;
        Ok(Self(Some(register(registry, counter)?)))
    }

    /// A counter that is not registered, so that it is not exported.
    pub fn unregistered() -> Self {
        Self(None)
    }

    fn count(&self, task: &'static str) {
        if let Some(counter) = &self.0 {
            counter.with_label_values(&[task]).inc();
        }
    }
}

// === impl TaskGroup ===

impl TaskGroup {
    /// No task yet; `stop` is what asks them to end.
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            tasks: JoinSet::new(),
            stop,
            first: Arc::default(),
        }
    }

    /// Starts a task. Its end is acted upon when it happens, whether or not anybody waits in [`TaskGroup::join`].
    pub fn spawn<O: TaskOutcome>(
        &mut self,
        task: &'static str,
        future: impl Future<Output = O> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        let first = self.first.clone();
        self.tasks.spawn(async move {
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            let death = match ended.map(TaskOutcome::into_death) {
                Ok(Some(inner)) => inner,
                Ok(None) if stop.is_cancelled() => return,
                Ok(None) => TaskDied {
                    task,
                    cause: RETURNED.to_owned(),
                },
                Err(panic) => TaskDied {
                    task,
                    cause: panic_text(panic.as_ref()),
                },
            };
            died(death.task, &death.cause);
            first
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(death);
            stop.cancel();
        });
    }

    /// Waits until every task has ended.
    ///
    /// # Errors
    /// [`TaskDied`] names the first that panicked or ended too early.
    pub async fn join(mut self) -> Result<(), TaskDied> {
        while self.tasks.join_next().await.is_some() {}
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.take().map_or(Ok(()), Err)
    }
}

// === impl TaskOutcome ===

impl TaskOutcome for () {
    fn into_death(self) -> Option<TaskDied> {
        None
    }
}

impl TaskOutcome for Result<(), TaskDied> {
    fn into_death(self) -> Option<TaskDied> {
        self.err()
    }
}

// === impl TaskDied ===

impl Hint for TaskDied {
    fn hint(&self) -> Option<String> {
        Some("this is a fault of the program: start it again, and report the log lines before this one".into())
    }
}

fn died(task: &'static str, cause: &str) {
    error!(task, "A task died: {cause}");
}

fn join_text(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic_text(panic.as_ref()),
        Err(_) => "it was aborted".into(),
    }
}

/// What a panic said. Panics may quote what they worked on, so little of it is shown.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    match text {
        Some(text) => format!("it panicked: {}", clip(text, PANIC_BYTES)),
        None => "it panicked".into(),
    }
}

const RETURNED: &str = "it returned although nobody asked it to stop";

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
const PANIC_BYTES: usize = 200;

#[cfg(test)]
mod tests;
