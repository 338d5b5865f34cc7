//! The side of the server: who may connect, one at a time, and what is left for the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use link::admin::Check;
use link::telemetry::clip;
use link::topic::Scheme;
use rmqtt_codec::v5::ConnectAckReason;
use std::num::NonZeroU16;
use std::panic::AssertUnwindSafe;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::connection::ServerConnection;
use super::end::ConnectionEnd;
use super::far::{ABSENT, Far};
use super::handshake::{Asking, greet};
use super::lanes::Lanes;
use super::log::SidecarLine;
use super::metrics::{SidecarMetrics, Way};
use super::up::Up;
use super::{KEEP_ALIVE_SECONDS, packet};
use crate::event_log::EventLog;

/// What connections of the server share.
pub(super) struct Near {
    pub(super) far: Arc<Far>,
    pub(super) up: tokio::sync::Mutex<Up>,
    pub(super) scheme: Scheme,
    pub(super) window: NonZeroU16,
    pub(super) metrics: SidecarMetrics,
    pub(super) check: Check,
    log: EventLog<SidecarLine>,
    present: watch::Sender<bool>,
    current: Mutex<Current>,
}

/// The connection that is taken, or will be as soon as the one before has ended.
#[derive(Default)]
struct Current {
    number: u64,
    taken: Option<(String, CancellationToken)>,
}

/// The place of one connection. Dropped, it is free, unless another has it by now.
struct ServerPermit<'a> {
    near: &'a Near,
    number: u64,
    leave: CancellationToken,
}

// === impl Near ===

impl Near {
    pub(super) fn new(
        far: Arc<Far>,
        up: Up,
        scheme: Scheme,
        window: NonZeroU16,
        metrics: SidecarMetrics,
        check: Check,
    ) -> Self {
        check.failing(ABSENT);
        Self {
            far,
            up: tokio::sync::Mutex::new(up),
            scheme,
            window,
            metrics,
            check,
            log: EventLog::new(),
            present: watch::Sender::new(false),
            current: Mutex::default(),
        }
    }

    /// Whether a server is connected.
    pub(super) fn present(&self) -> watch::Receiver<bool> {
        self.present.subscribe()
    }

    /// Takes connections until `stop`, and ends with the last of them.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("Could not accept a connection: {error}");
                    sleep(AGAIN).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                self.turn_away("too_many", "too many connections that are no server's");
                continue;
            };
            let (near, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                let taking = AssertUnwindSafe(near.take(stream, &stop)).catch_unwind();
                if taking.await.is_err() {
                    error!("A connection of the server panicked; it may connect again");
                }
                drop(place);
            });
        }
        drop(listener);
        while tasks.join_next().await.is_some() {}
    }

    async fn take(&self, stream: TcpStream, stop: &CancellationToken) {
        // PUBLISH and PUBACK are one small packet each.
        drop(stream.set_nodelay(true));
        let greeting = stop.run_until_cancelled(greet(stream));
        let Some(greeted) = greeting.await else {
            return;
        };
        let mut asking = match greeted {
            Ok(asking) => asking,
            Err(turned) => return self.turn_away(turned.cause, &turned.words),
        };
        let client_id = clip(&asking.connect.client_id, CLIENT_ID_BYTES).into_owned();
        let Some(place) = self.claim(&client_id) else {
            let words = "another server is connected; each has a sidecar of its own";
            self.turn_away("second", words);
            let refused = packet::refused(ConnectAckReason::ServerBusy, words);
            return asking.writer.last_word(refused).await;
        };
        let Ok(mut up) = timeout(FORMER_WITHIN, self.up.lock()).await else {
            self.turn_away("busy", "the connection before has not ended yet");
            return;
        };
        if place.leave.is_cancelled() {
            return self.turn_away("takeover", "another connection has the same client id");
        }
        self.metrics.connections.inc();
        info!(client.id = %client_id, "The Maestro server connected");
        self.check
            .failing("the Maestro server has connected and not subscribed yet");
        let end = self.run(asking, &mut up, &place.leave, stop).await;
        let waiting = up.waiting().0;
        drop(up);
        self.metrics
            .disconnections
            .with_label_values(&[end.label()])
            .inc();
        self.metrics.note(Way::Down, 0, None);
        info!(client.id = %client_id, waiting, "The Maestro server's connection ended: {}", end.words());
        let taken = place.is_current();
        drop(place);
        if taken {
            self.check
                .failing(format!("{ABSENT}; {waiting} events of agents wait for it"));
        }
    }

    async fn run(
        &self,
        asking: Asking,
        up: &mut Up,
        leave: &CancellationToken,
        stop: &CancellationToken,
    ) -> ConnectionEnd {
        let Asking {
            connect,
            mut frames,
            mut writer,
        } = asking;
        let accepted = packet::accepted(self.window, connect.keep_alive);
        if writer.push(accepted).is_err() {
            return ConnectionEnd::Broken;
        }
        let keep_alive = match connect.keep_alive {
            0 => KEEP_ALIVE_SECONDS,
            seconds => seconds,
        };
        let receives = connect.receive_max.map_or(u16::MAX, NonZeroU16::get);
        let sessions = self.far.sessions();
        let window = usize::from(self.window.get());
        let mut connection = ServerConnection {
            far: self.far.clone(),
            metrics: self.metrics.clone(),
            log: self.log.clone(),
            check: self.check.clone(),
            writer,
            lanes: Lanes::new(sessions, window, &self.scheme, &self.log),
            window: usize::from(receives),
            // MQTT 5, 3.1.2.10.
            patience: Duration::from_secs(keep_alive.into()) * 3 / 2,
            filters: std::collections::BTreeSet::new(),
            hears: false,
        };
        let end = Box::pin(connection.run(&mut frames, up, leave, stop)).await;
        connection.lanes.end().await;
        if let Some((code, words)) = end.told() {
            connection
                .writer
                .last_word(packet::disconnect(code, words))
                .await;
        }
        end
    }

    fn turn_away(&self, cause: &'static str, words: &str) {
        self.metrics
            .disconnections
            .with_label_values(&[cause])
            .inc();
        if let Some(held) = self.log.admit(SidecarLine::Rejection(cause), None) {
            warn!(held_back = held, "Turned a connection away: {words}");
        }
    }

    /// The place, if no other server has it; of the same one the connection before has to go (MQTT 5, 3.1.4).
    fn claim(&self, client_id: &str) -> Option<ServerPermit<'_>> {
        let mut current = self.locked();
        if let Some((taken, leave)) = &current.taken {
            if taken != client_id {
                return None;
            }
            leave.cancel();
        }
        let leave = CancellationToken::new();
        current.number += 1;
        current.taken = Some((client_id.to_owned(), leave.clone()));
        self.present.send_replace(true);
        Some(ServerPermit {
            near: self,
            number: current.number,
            leave,
        })
    }

    // Written whole under the lock.
    fn locked(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ServerPermit ===

impl ServerPermit<'_> {
    fn is_current(&self) -> bool {
        self.near.locked().number == self.number
    }
}

impl Drop for ServerPermit<'_> {
    fn drop(&mut self) {
        let mut current = self.near.locked();
        if current.number == self.number {
            current.taken = None;
            self.near.present.send_replace(false);
        }
    }
}

// The server's, and a few that are turned away; each may hold a CONNECT of 16 KiB.
const CONNECTIONS: usize = 16;

// The former connection has a second to say goodbye.
const FORMER_WITHIN: Duration = Duration::from_secs(5);

const AGAIN: Duration = Duration::from_millis(200);

const CLIENT_ID_BYTES: usize = 128;
