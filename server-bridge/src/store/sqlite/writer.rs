//! The one writer: takes every write that is waiting, runs each under its own savepoint, and commits them
//! together, so that eight callers cost little more than one.
//!
//! A caller is told `Ok` only when its write is committed to the file that a restart will read. A job that panics is
//! undone alone; a writer that dies is made again on a new connection, and counted.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use link::error::chain;
use link::supervise::{Restarts, restarting};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::super::sql::Written;
use super::super::{FailureClass, Hint, StoreError};
use super::health::Health;
use super::lock::Lock;
use super::rows::driver;

/// Hands jobs to the writer task.
#[derive(Clone)]
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Run(Job),
    Close(oneshot::Sender<()>),
}

/// A write that waits.
struct Job {
    run: Run,
    /// Set when it panicked, before its caller is told anything.
    panicked: Arc<AtomicBool>,
}

/// Runs on the connection, or is told at once why there is no transaction to run in.
type Run = Box<
    dyn for<'c> FnOnce(Result<&'c mut SqliteConnection, StoreError>) -> BoxFuture<'c, Ran> + Send,
>;

/// A job that ran: whether its changes are to be kept, and how to tell its caller.
struct Ran {
    keep: bool,
    /// A failure of the database that ends the transaction for everybody.
    failed: Option<StoreError>,
    finish: Finish,
}

type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What the writer's task is made from, as often as it has to be.
pub(super) struct Parts {
    pub(super) options: SqliteConnectOptions,
    pub(super) health: Health,
    pub(super) restarts: Restarts,
    /// Given back when the database is closed.
    pub(super) lock: Lock,
}

/// Outlives a panic of the task.
struct Engine {
    /// Absent while the task that took it runs, and when that task died.
    connection: Option<SqliteConnection>,
    queue: mpsc::Receiver<Command>,
    options: SqliteConnectOptions,
    health: Health,
}

// === impl Writer ===

impl Writer {
    /// Starts the writer task on its connection; it ends with the last handle or on [`Writer::close`].
    pub(super) fn spawn(connection: SqliteConnection, parts: Parts) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let Parts {
            options,
            health,
            restarts,
            lock,
        } = parts;
        let engine = Arc::new(Mutex::new(Engine {
            connection: Some(connection),
            queue,
            options,
            health,
        }));
        tokio::spawn(async move {
            let stop = CancellationToken::new();
            restarting("store-writer", &restarts, &stop, || {
                run(engine.clone(), stop.clone())
            })
            .await;
            drop(lock);
        });
        Self { commands }
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        changes: broadcast::Sender<Hint>,
        job: impl for<'c> FnOnce(
            &'c mut SqliteConnection,
        ) -> BoxFuture<'c, Result<Written<T>, StoreError>>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let run: Run = Box::new(move |connection| {
            Box::pin(async move {
                let result = match connection {
                    Ok(connection) => job(connection).await,
                    Err(failed) => Err(failed),
                };
                Ran {
                    keep: result.is_ok(),
                    failed: result.as_ref().err().filter(|e| ends_all(e)).cloned(),
                    finish: Box::new(move |committed| {
                        let result = match (result, committed) {
                            (Err(refused), _) => Err(refused),
                            (Ok(_), Err(failed)) => Err(failed),
                            (Ok(written), Ok(())) => {
                                if let Some(consumer) = written.hint {
                                    // Nobody listening is fine: the hint is only a hint.
                                    let _ = changes.send(Hint::Consumer(consumer));
                                }
                                Ok(written.value)
                            }
                        };
                        // A caller that went away does not undo the write.
                        let _ = answer.send(result);
                    }),
                }
            })
        });
        let panicked = Arc::new(AtomicBool::new(false));
        let job = Job {
            run,
            panicked: panicked.clone(),
        };
        self.commands
            .send(Command::Run(job))
            .await
            .map_err(|_| StoreError::Closed)?;
        match answered.await {
            Ok(result) => result,
            Err(_) if panicked.load(Ordering::Acquire) => Err(StoreError::Panicked),
            Err(_) if self.commands.is_closed() => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Unavailable {
                reason: "its writer died, and whether this write was kept is not known".into(),
            }),
        }
    }

    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

async fn run(engine: Arc<Mutex<Engine>>, stop: CancellationToken) {
    let mut engine = engine.lock().await;
    let health = engine.health.clone();
    let mut connection = match engine.connection.take() {
        Some(connection) => connection,
        None => match reopen(&engine.options, &health).await {
            Ok(connection) => connection,
            // Returning early is what makes the supervisor try again, later and later.
            Err(failed) => return turn_away(&mut engine.queue, &failed, &stop).await,
        },
    };
    let mut commands = Vec::with_capacity(BATCH);
    let mut closers = Vec::new();
    while engine.queue.recv_many(&mut commands, BATCH).await > 0 {
        let mut jobs = Vec::with_capacity(commands.len());
        for command in commands.drain(..) {
            match command {
                Command::Run(job) => jobs.push(job),
                Command::Close(done) => {
                    // What is queued already still runs; whoever comes later is told.
                    engine.queue.close();
                    closers.push(done);
                }
            }
        }
        if !jobs.is_empty() {
            commit(&mut connection, &health, jobs).await;
        }
    }
    if let Err(source) = connection.close().await {
        warn!(error = %source, "Could not close the database");
    }
    stop.cancel();
    for done in closers {
        let _ = done.send(());
    }
}

/// A new connection to the same file; a file that took its place is not written to.
async fn reopen(
    options: &SqliteConnectOptions,
    health: &Health,
) -> Result<SqliteConnection, StoreError> {
    health.writable()?;
    SqliteConnection::connect_with(options)
        .await
        .map_err(driver("open the database again"))
}

/// Answers whoever waits while there is no connection.
async fn turn_away(
    queue: &mut mpsc::Receiver<Command>,
    failed: &StoreError,
    stop: &CancellationToken,
) {
    error!(error = chain(failed), "The writer has no database");
    while let Ok(command) = queue.try_recv() {
        match command {
            Command::Run(job) => refuse(job, failed).await,
            Command::Close(done) => {
                queue.close();
                let _ = done.send(());
            }
        }
    }
    if queue.is_closed() {
        stop.cancel();
    }
}

async fn refuse(job: Job, failed: &StoreError) {
    let told = AssertUnwindSafe((job.run)(Err(failed.clone())))
        .catch_unwind()
        .await;
    if let Ok(ran) = told {
        (ran.finish)(Ok(()));
    }
}

/// Runs jobs in one transaction and tells each caller, after the commit, what became of its own.
async fn commit(connection: &mut SqliteConnection, health: &Health, jobs: Vec<Job>) {
    let mut jobs = jobs.into_iter();
    if let Err(failed) = health.writable() {
        health.note(&failed);
        for job in jobs {
            refuse(job, &failed).await;
        }
        return;
    }
    let mut finishes = Vec::with_capacity(jobs.len());
    let committed = transaction(connection, health, &mut jobs, &mut finishes).await;
    let outcome = match committed {
        // A commit into a file that was removed meanwhile is no commit.
        Ok(()) => health.writable(),
        Err(failed) => {
            // Fails when the engine already rolled back by itself, which is the state wanted.
            let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
            Err(failed)
        }
    };
    if let Err(failed) = &outcome {
        health.note(failed);
        for job in jobs {
            refuse(job, failed).await;
        }
    }
    for finish in finishes {
        finish(outcome.clone());
    }
}

async fn transaction(
    connection: &mut SqliteConnection,
    health: &Health,
    jobs: &mut std::vec::IntoIter<Job>,
    finishes: &mut Vec<Finish>,
) -> Result<(), StoreError> {
    statement(connection, "BEGIN IMMEDIATE").await?;
    while !jobs.as_slice().is_empty() {
        statement(connection, "SAVEPOINT job").await?;
        let Some(Job { run, panicked }) = jobs.next() else {
            break;
        };
        let ran = AssertUnwindSafe(async { run(Ok(&mut *connection)).await })
            .catch_unwind()
            .await;
        let keep = match ran {
            Ok(Ran {
                keep,
                failed,
                finish,
            }) => {
                finishes.push(finish);
                if let Some(failed) = failed {
                    // The engine may have rolled back everything before it already.
                    return Err(failed);
                }
                keep
            }
            Err(_) => {
                panicked.store(true, Ordering::Release);
                error!("A write panicked and was undone");
                false
            }
        };
        if !keep {
            statement(connection, "ROLLBACK TO job").await?;
        }
        statement(connection, "RELEASE job").await?;
    }
    health.injected("commit to the database")?;
    statement(connection, "COMMIT").await
}

async fn statement(
    connection: &mut SqliteConnection,
    text: &'static str,
) -> Result<(), StoreError> {
    let done = sqlx::query(text).execute(connection).await;
    done.map(|_| ()).map_err(driver("commit to the database"))
}

/// Whether a failure is the database's rather than the job's own.
fn ends_all(error: &StoreError) -> bool {
    error
        .class()
        .is_some_and(|class| class != FailureClass::Content)
}

// Writers that may wait for the next commit; each holds at most one bundle (500 KiB), and a full queue only makes
// callers wait.
const QUEUE: usize = 64;

// Writes per commit. A create takes well under a millisecond, so nobody waits longer than a few dozen.
const BATCH: usize = 32;
