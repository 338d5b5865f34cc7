//! The connection that sends and receives notifications: outside the pool, so that load does not delay it, and replaced
//! when it fails, does not answer in time, or reaches the connections' lifetime.

use std::time::Duration;

use link::backoff::Backoff;
use link::error::chain;
use link::telemetry::Throttle;
use sqlx::postgres::PgListener;
use tokio::sync::broadcast;
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::super::super::Hint;
use super::super::connect::Connections;
use super::super::failure::is_denied;
use super::{Notifier, heard};

/// Sends and receives notifications until `stop` is cancelled.
pub(in super::super) async fn tend(
    notifier: Notifier,
    connections: Connections,
    changes: broadcast::Sender<Hint>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(AGAIN_FIRST, AGAIN_LONGEST, STABLE);
    let said = Throttle::new(SAY_EVERY, KINDS);
    while !stop.is_cancelled() {
        let began = Instant::now();
        let line = Line {
            notifier: &notifier,
            connections: &connections,
            changes: &changes,
            stop: &stop,
        };
        let Err(error) = Box::pin(line.serve()).await else {
            continue;
        };
        notifier.metrics.reconnects.inc();
        let text = chain(&error);
        if let Some(more) = said.admit(&text, Instant::now()) {
            warn!(
                error = text,
                more,
                "Notifications of other replicas are not received; sweeps find what they tell"
            );
        }
        let pause = async {
            if is_denied(&error) {
                connections.look().await;
            }
            sleep(backoff.next_jittered(began.elapsed())).await;
        };
        stop.run_until_cancelled(pause).await;
    }
}

struct Line<'a> {
    notifier: &'a Notifier,
    connections: &'a Connections,
    changes: &'a broadcast::Sender<Hint>,
    stop: &'a CancellationToken,
}

// === impl Line ===

impl Line<'_> {
    /// One connection from beginning to end. Well when it is to be replaced, or nothing is to be heard any more.
    async fn serve(&self) -> Result<(), sqlx::Error> {
        let limits = self.connections.limits();
        let mut moved = self.connections.moved();
        let connected = self.stop.run_until_cancelled(Box::pin(self.connect()));
        let Some(connected) = connected.await else {
            return Ok(());
        };
        let (mut listener, own) = connected?;
        debug!("Listening for notifications of other replicas");
        // Notifications that were sent before this connection listened are lost.
        self.tell(Hint::Somebody);
        let until = Instant::now() + limits.lifetime;
        let mut ping = interval_at(Instant::now() + limits.listener_ping, limits.listener_ping);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    // The last notification, such as that leases were given back.
                    return self.send(&mut listener).await;
                }
                _ = moved.changed() => return Ok(()),
                () = sleep_until(until) => return Ok(()),
                received = listener.try_recv() => match received? {
                    // The server sends to whoever listens, so what we sent comes back.
                    Some(notification) if notification.process_id() == own => {}
                    Some(notification) => {
                        self.notifier.metrics.heard.inc();
                        heard(notification.payload()).into_iter().for_each(|hint| self.tell(hint));
                    }
                    None => return Err(gone("the server closed the connection")),
                },
                () = self.notifier.due() => self.send(&mut listener).await?,
                _ = ping.tick() => {
                    let used = sqlx::query_scalar("SELECT pg_notification_queue_usage()");
                    let used = within(limits.listener_answer, used.fetch_one(&mut listener));
                    self.notifier.metrics.usage.set(used.await?);
                }
            }
        }
    }

    /// A new connection that listens, and the process at the server that serves it.
    async fn connect(&self) -> Result<(PgListener, u32), sqlx::Error> {
        let pool = self.connections.lone()?;
        let channel = self.connections.channel();
        let connect = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.ignore_pool_close_event(true);
            // Another connection is another conversation: it is begun above.
            listener.eager_reconnect(false);
            listener.listen(&channel).await?;
            let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
                .fetch_one(&mut listener)
                .await?;
            Ok((listener, own.unsigned_abs()))
        };
        within(self.connections.limits().acquire, connect).await
    }

    async fn send(&self, listener: &mut PgListener) -> Result<(), sqlx::Error> {
        let Some(payload) = self.notifier.take() else {
            return Ok(());
        };
        let notify = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(self.connections.channel().as_ref())
            .bind(payload)
            .execute(listener);
        let sent = within(self.connections.limits().listener_answer, notify).await;
        match sent {
            Ok(_) => self.notifier.metrics.sent.inc(),
            // Once more on the next connection, in fewer words.
            Err(_) => self.notifier.notify(Hint::Somebody),
        }
        sent.map(|_| ())
    }

    fn tell(&self, hint: Hint) {
        // Nobody listening is fine: the hint is only a hint.
        let _ = self.changes.send(hint);
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(gone("no answer in time")),
    }
}

fn gone(why: &'static str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

const AGAIN_FIRST: Duration = Duration::from_millis(200);

// As long as a sweep may take to find what a notification would tell.
const AGAIN_LONGEST: Duration = Duration::from_secs(5);
const STABLE: Duration = Duration::from_secs(60);

const SAY_EVERY: Duration = Duration::from_secs(60);

// Few problems at a time; each text is a few hundred bytes.
const KINDS: usize = 16;
