//! Polls the client library's event loop, and decides when and with which certificate to connect again.
//!
//! The loop never waits for a consumer and never drops what it received: messages wait in a queue bounded by bytes, and
//! while that is full nothing more is read. Acks and pings leave all the same.
//!
//! **Invariant:** while this process may not be connected nothing is dialled, and a session that is connected is ended at
//! the broker; one whose connection is lost just then ends there by itself, with its keep-alive and its expiry.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rumqttc::{ConnectionError, Event, EventLoop};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::failure::offered;
use self::withheld::Withheld;
use super::credentials::TrustedCredentials;
use super::inbound::Inbound;
use super::metrics::SessionMetrics;
use super::options::{client, client_options};
use super::pump::{DRAIN_DEADLINE, LEAVE_DEADLINE, Pump};
use super::reading::Reading;
use super::reason::{ConnectError, unencodable};
use super::session::Session;
use super::shared::Shared;
use super::socket::ReadPause;
use super::state::State;
use super::{Config, Reconnect};
use crate::backoff::Backoff;
use crate::identity::Identity;
use crate::tls;

mod events;
mod failure;
mod withheld;

/// Runs a session: drives the connection and the pump until it is asked to stop.
pub struct Driver {
    shared: Arc<Shared>,
    events: EventLoop,
    pump: Option<Pump>,
    reading: Reading,
    // What CONNECT asks for; the library's own setting is shortened once the connection stands.
    keep_alive: Duration,
    identity: watch::Receiver<Arc<Identity>>,
    credentials: TrustedCredentials<Arc<rustls::ClientConfig>>,
    tls: tls::TlsOptions,
    reconnect: Reconnect,
    backoff: Backoff,
    // Attempts in a row that were closed before CONNACK: once is the network, repeatedly it is a refusal.
    silent_closes: u32,
    // The first connection of the session that the broker keeps now.
    session_since: u64,
    // A CONNECT may have begun a session since the last CONNACK: the answer was lost.
    unanswered: bool,
    withheld: Withheld,
}

enum Ended {
    Failed(ConnectError),
    // A message could not be sent as it is: the library's error.
    Message(String),
    // The session is over, because this process may not be connected now.
    Withheld,
    Orderly,
}

#[expect(
    clippy::large_enum_variant,
    reason = "lives for one turn of the loop, on the stack"
)]
enum Next {
    Event(Result<Event, ConnectionError>),
    Reconnect(&'static str),
    Offered(Arc<rustls::ClientConfig>),
    RetryRefused,
    Silent,
    Withheld(&'static str),
    Stop,
}

pub(super) fn build(
    config: Config,
    identity: watch::Receiver<Arc<Identity>>,
    metrics: SessionMetrics,
) -> Result<(Session, Inbound, Driver), tls::TlsError> {
    let mut tls = config.tls.clone();
    if config.port == 443 && tls.alpn.is_none() {
        tls.alpn = Some(tls::ALPN_MQTT.to_string());
    }
    let first = tls::client_config(&identity.borrow(), &tls)?;
    let pause = ReadPause::default();
    let (client, events) = client(client_options(&config, first.clone(), pause.clone()));
    let shared = Arc::new(Shared::new(client, metrics, config.subscriptions.clone()));
    let (session, outgoing) = Session::new(shared.clone(), config.limits.clone());
    let (deliveries, inbound) = Inbound::new();
    let driver = Driver {
        pump: Some(Pump::new(&config, shared.clone(), outgoing)),
        reading: Reading::new(deliveries, pause, shared.clone()),
        shared,
        events,
        keep_alive: config.keep_alive,
        identity,
        credentials: TrustedCredentials::new(first),
        tls,
        backoff: config.reconnect.backoff(),
        reconnect: config.reconnect,
        silent_closes: 0,
        session_since: 0,
        unanswered: false,
        withheld: Withheld::default(),
    };
    Ok((session, inbound, driver))
}

// === impl Driver ===

impl Driver {
    /// Connects and stays connected until `drain` is cancelled, then lets what is in flight be acknowledged
    /// (three seconds at most) and disconnects.
    ///
    /// # Panics
    /// Panics when the pump, which is a task of its own, does: whoever watches this one sees both.
    pub async fn run(mut self, drain: CancellationToken) {
        let Some(pump) = self.pump.take() else { return };
        let mut pump = AbortOnDropHandle::new(tokio::spawn(pump.run(drain.clone())));
        let driving = self.drive(drain.clone());
        tokio::pin!(driving);
        tokio::select! {
            () = &mut driving => return,
            ended = &mut pump => match ended {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // It ends with the drain; before that nothing would be published any more.
                Ok(()) if drain.is_cancelled() => {}
                _ => return,
            },
        }
        driving.await;
    }

    async fn drive(&mut self, drain: CancellationToken) {
        loop {
            if !self.may_connect(&drain).await {
                break;
            }
            self.shared.state.send_replace(State::Connecting);
            let mut established = None;
            self.reading.go_on();
            self.set_keep_alive(self.keep_alive);
            let ended = self.connection(&mut established, &drain).await;
            let reached = self.reading.reached();
            self.unanswered |= established.is_none() && reached && ended.may_have_begun_a_session();
            self.shared.refuse_acks();
            self.shared
                .connection
                .send_modify(|connection| connection.up = false);
            // After acks are refused, so that no stale one stays queued.
            self.take_back();
            let error = match ended {
                Ended::Failed(error) => error,
                Ended::Withheld => continue,
                Ended::Message(reason) => {
                    self.forget_session(reason.clone());
                    ConnectError::Protocol(format!("encode a message: {reason}"))
                }
                Ended::Orderly => break,
            };
            let lasted = established.map_or(Duration::ZERO, |at: Instant| at.elapsed());
            let delay = self.after_failure(&error, established.is_some(), lasted);
            self.shared.state.send_replace(State::Waiting {
                error: Arc::new(error),
                retry_in: delay,
            });
            tokio::select! {
                () = sleep(delay) => {}
                () = drain.cancelled() => break,
                config = offered(&mut self.identity, &self.tls) => self.try_next(config),
                // What it says is asked for again at the top.
                _ = self.withheld.begins() => {}
            }
        }
    }

    async fn connection(
        &mut self,
        established: &mut Option<Instant>,
        drain: &CancellationToken,
    ) -> Ended {
        let mut stop_at: Option<Instant> = None;
        loop {
            let retry_at = self.credentials.retry_at();
            let next = 'next: {
                let poll = self.events.poll();
                tokio::pin!(poll);
                // Under load the next event is there already: the other matters are looked at whenever it is not.
                if let Poll::Ready(event) = futures_util::poll!(&mut poll) {
                    break 'next Next::Event(event);
                }
                loop {
                    let silent_at = self.reading.liveness.deadline();
                    tokio::select! {
                        biased;
                        reason = self.withheld.begins() => break Next::Withheld(reason),
                        reason = self.shared.reconnect_asked() => break Next::Reconnect(reason),
                        config = offered(&mut self.identity, &self.tls) => break Next::Offered(config),
                        // The poll under way is never given up for this: it may be in the middle of a write.
                        () = self.reading.room() => self.reading.go_on(),
                        () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => break Next::RetryRefused,
                        () = drain.cancelled(), if stop_at.is_none() => {
                            let grace = if established.is_some() { DRAIN_DEADLINE + LEAVE_DEADLINE + FLUSH_DEADLINE } else { Duration::ZERO };
                            stop_at = Some(Instant::now() + grace);
                        }
                        () = sleep_until(stop_at.unwrap_or_else(Instant::now)), if stop_at.is_some() => break Next::Stop,
                        event = &mut poll => break Next::Event(event),
                        () = sleep_until(silent_at), if established.is_some() => break Next::Silent,
                    }
                }
            };
            match next {
                Next::Event(Ok(event)) => {
                    if self.take(event, established) {
                        return Ended::Orderly;
                    }
                }
                Next::Event(Err(ConnectionError::RequestsDone)) | Next::Stop => {
                    return Ended::Orderly;
                }
                Next::Event(Err(error)) => {
                    if matches!(error, ConnectionError::Tls(_)) {
                        // It ended before any CONNECT.
                        self.reading.reached();
                    }
                    if let Some(reason) = unencodable(&error) {
                        return Ended::Message(reason);
                    }
                    return Ended::Failed(ConnectError::read(error, established.is_some()));
                }
                Next::Withheld(reason) => {
                    self.end_withheld(reason, established.is_some()).await;
                    return Ended::Withheld;
                }
                Next::Silent => return Ended::Failed(ConnectError::Stalled("no PINGRESP")),
                Next::Reconnect(reason) => {
                    return Ended::Failed(if reason.starts_with("no ") {
                        ConnectError::Stalled(reason)
                    } else {
                        ConnectError::Deliberate(reason)
                    });
                }
                Next::Offered(config) => {
                    self.try_next(config);
                    return Ended::Failed(ConnectError::Deliberate(
                        "a new certificate is in place",
                    ));
                }
                Next::RetryRefused => {
                    self.credentials.retry();
                    self.use_current();
                    return Ended::Failed(ConnectError::Deliberate(
                        "trying the refused certificate again",
                    ));
                }
            }
        }
    }
}

impl Drop for Driver {
    /// However it ends, its consumer and watchers are woken.
    fn drop(&mut self) {
        self.reading.queue.close();
        self.shared.state.send_replace(State::Closed);
    }
}

// === impl Ended ===

impl Ended {
    /// Whether the broker may have taken a CONNECT that it did not answer, or whose answer was lost.
    fn may_have_begun_a_session(&self) -> bool {
        !matches!(
            self,
            Self::Failed(ConnectError::Tls(_) | ConnectError::Refused { .. })
        )
    }
}

// The DISCONNECT itself, after the pump drained and waited for the last acks.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);
