//! The one writer: takes every write that is waiting, runs each under its own savepoint, and commits them
//! together, so that eight callers cost little more than one.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use link::id::ConsumerName;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::{error, warn};

use super::super::StoreError;

/// What a job gives back: its value, and the consumer for which something may need sending now.
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) hint: Option<ConsumerName>,
}

/// Hands jobs to the writer task.
#[derive(Clone)]
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Run(Job),
    Close(oneshot::Sender<()>),
}

/// Runs on the connection, or is told at once why there is no transaction to run in.
type Job = Box<
    dyn for<'c> FnOnce(Result<&'c mut SqliteConnection, StoreError>) -> BoxFuture<'c, Ran> + Send,
>;

/// A job that ran: whether its changes are to be kept, and how to tell its caller.
struct Ran {
    keep: bool,
    finish: Finish,
}

type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

// === impl Writer ===

impl Writer {
    /// Starts the writer task on its connection; it ends with the last handle or on [`Writer::close`].
    pub(super) fn spawn(connection: SqliteConnection) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        tokio::spawn(run(connection, queue));
        Self { commands }
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        changes: broadcast::Sender<ConsumerName>,
        job: impl for<'c> FnOnce(
            &'c mut SqliteConnection,
        ) -> BoxFuture<'c, Result<Written<T>, StoreError>>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                let result = match connection {
                    Ok(connection) => job(connection).await,
                    Err(failed) => Err(failed),
                };
                Ran {
                    keep: result.is_ok(),
                    finish: Box::new(move |committed| {
                        let result = match (result, committed) {
                            (Err(refused), _) => Err(refused),
                            (Ok(_), Err(failed)) => Err(failed),
                            (Ok(written), Ok(())) => {
                                if let Some(consumer) = written.hint {
                                    // Nobody listening is fine: the hint is only a hint.
                                    let _ = changes.send(consumer);
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
        self.commands
            .send(Command::Run(job))
            .await
            .map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
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

async fn run(mut connection: SqliteConnection, mut queue: mpsc::Receiver<Command>) {
    let mut commands = Vec::with_capacity(BATCH);
    let mut closers = Vec::new();
    while queue.recv_many(&mut commands, BATCH).await > 0 {
        let mut jobs = Vec::with_capacity(commands.len());
        for command in commands.drain(..) {
            match command {
                Command::Run(job) => jobs.push(job),
                Command::Close(done) => {
                    // What is queued already still runs; whoever comes later is told.
                    queue.close();
                    closers.push(done);
                }
            }
        }
        if !jobs.is_empty() {
            commit(&mut connection, jobs).await;
        }
    }
    if let Err(source) = connection.close().await {
        warn!(error = %source, "Could not close the database");
    }
    for done in closers {
        let _ = done.send(());
    }
}

/// Runs jobs in one transaction and tells each caller, after the commit, what became of its own.
async fn commit(connection: &mut SqliteConnection, jobs: Vec<Job>) {
    let mut finishes = Vec::with_capacity(jobs.len());
    let mut jobs = jobs.into_iter();
    let outcome = transaction(connection, &mut jobs, &mut finishes)
        .await
        .map_err(|source| {
            error!(error = %source, "Could not commit to the database");
            StoreError::Driver {
                operation: "commit to the database",
                source: Arc::new(source),
            }
        });
    if let Err(failed) = &outcome {
        // Fails when the engine already rolled back by itself, which is the state wanted.
        let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
        for job in jobs {
            finishes.push(job(Err(failed.clone())).await.finish);
        }
    }
    for finish in finishes {
        finish(outcome.clone());
    }
}

async fn transaction(
    connection: &mut SqliteConnection,
    jobs: &mut std::vec::IntoIter<Job>,
    finishes: &mut Vec<Finish>,
) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut *connection)
        .await?;
    while !jobs.as_slice().is_empty() {
        sqlx::query("SAVEPOINT job")
            .execute(&mut *connection)
            .await?;
        let Some(job) = jobs.next() else { break };
        let ran = job(Ok(&mut *connection)).await;
        finishes.push(ran.finish);
        if !ran.keep {
            sqlx::query("ROLLBACK TO job")
                .execute(&mut *connection)
                .await?;
        }
        sqlx::query("RELEASE job").execute(&mut *connection).await?;
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(())
}

// Writers that may wait for the next commit; each holds at most one bundle (500 KiB), and a full queue only makes
// callers wait.
const QUEUE: usize = 64;

// Writes per commit. A create takes well under a millisecond, so nobody waits longer than a few dozen.
const BATCH: usize = 32;
