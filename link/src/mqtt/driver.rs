//! Polls the client library's event loop, and decides when and with which certificate to connect again.
//!
//! The loop never waits for a consumer: received messages go into a queue that the broker's window cannot
//! overfill while the consumer keeps up, and a consumer that does not is left to the broker's redelivery.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Outgoing as Sent, Packet, Publish, QoS,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::credentials::{Credentials, Verdict};
use super::inbound::{Delivery, Inbound};
use super::metrics::Metrics;
use super::options::{REQUEST_CAPACITY, client_options, transport};
use super::pump::{DRAIN_DEADLINE, Pump};
use super::reason::ConnectError;
use super::session::Session;
use super::shared::Shared;
use super::state::State;
use super::{Config, IN_FLIGHT_WINDOW, Reconnect};
use crate::backoff::Backoff;
use crate::error::Hint;
use crate::identity::Identity;
use crate::message::Message;
use crate::tls;

/// Runs a session: drives the connection and the pump until it is told to stop.
pub struct Driver {
    shared: Arc<Shared>,
    events: EventLoop,
    pump: Option<Pump>,
    deliveries: mpsc::Sender<Delivery>,
    identity: watch::Receiver<Arc<Identity>>,
    credentials: Credentials<Arc<rustls::ClientConfig>>,
    tls: tls::Options,
    reconnect: Reconnect,
    backoff: Backoff,
    // Attempts in a row that were closed before CONNACK: once is the network, repeatedly it is a refusal.
    silent_closes: u32,
    // A message was left to redelivery because the consumer was behind.
    behind: bool,
}

enum Ended {
    Failed(ConnectError),
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
    Stop,
}

pub(super) fn build(
    config: Config,
    identity: watch::Receiver<Arc<Identity>>,
    metrics: Metrics,
) -> Result<(Session, Inbound, Driver), tls::Error> {
    let mut tls = config.tls.clone();
    if config.port == 443 && tls.alpn.is_none() {
        tls.alpn = Some(tls::ALPN_MQTT.to_string());
    }
    let first = tls::client_config(&identity.borrow(), &tls)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "this module is what the ban sends others to"
    )]
    let (client, events) = AsyncClient::builder(client_options(&config, first.clone()))
        .capacity(REQUEST_CAPACITY)
        .build();
    let shared = Arc::new(Shared::new(client, metrics));
    let (session, outgoing) = Session::new(shared.clone(), config.limits.clone());
    let (deliveries, inbound) = Inbound::new();
    let driver = Driver {
        pump: Some(Pump::new(&config, shared.clone(), outgoing)),
        shared,
        events,
        deliveries,
        identity,
        credentials: Credentials::new(first),
        tls,
        backoff: config.reconnect.backoff(),
        reconnect: config.reconnect,
        silent_closes: 0,
        behind: false,
    };
    Ok((session, inbound, driver))
}

// === impl Driver ===

impl Driver {
    /// Connects and stays connected until `drain` is cancelled, then lets what is in flight be acknowledged
    /// (three seconds at most) and disconnects.
    pub async fn run(mut self, drain: CancellationToken) {
        let Some(pump) = self.pump.take() else { return };
        let _pump = AbortOnDropHandle::new(tokio::spawn(pump.run(drain.clone())));
        loop {
            self.shared.state.send_replace(State::Connecting);
            let mut established = None;
            let ended = self.connection(&mut established, &drain).await;
            self.shared.close_ack_gate();
            self.shared
                .connection
                .send_modify(|connection| connection.up = false);
            // After the gate closed, so that no stale ack stays queued.
            self.events.clean();
            let Ended::Failed(error) = ended else { break };
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
            }
        }
        self.shared.state.send_replace(State::Closed);
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
                    tokio::select! {
                        biased;
                        reason = self.shared.reconnect_asked() => break Next::Reconnect(reason),
                        config = offered(&mut self.identity, &self.tls) => break Next::Offered(config),
                        _ = self.deliveries.reserve_many(usize::from(IN_FLIGHT_WINDOW)), if self.behind => {
                            break Next::Reconnect("the consumer caught up with the broker's redelivery");
                        }
                        () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => break Next::RetryRefused,
                        () = drain.cancelled(), if stop_at.is_none() => {
                            let grace = if established.is_some() { DRAIN_DEADLINE + FLUSH_DEADLINE } else { Duration::ZERO };
                            stop_at = Some(Instant::now() + grace);
                        }
                        () = sleep_until(stop_at.unwrap_or_else(Instant::now)), if stop_at.is_some() => break Next::Stop,
                        event = &mut poll => break Next::Event(event),
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
                    return Ended::Failed(ConnectError::read(error, established.is_some()));
                }
                Next::Reconnect(reason) => {
                    self.behind = false;
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

    /// Takes one event; `true` means that our DISCONNECT went out.
    fn take(&mut self, event: Event, established: &mut Option<Instant>) -> bool {
        match event {
            Event::Incoming(Packet::ConnAck(answer)) => {
                *established = Some(Instant::now());
                self.connected(answer.session_present);
            }
            Event::Incoming(Packet::Publish(publish)) => self.deliver(&publish),
            Event::Outgoing(Sent::Disconnect) => return true,
            // Acks reach the pump as notices of tracked requests; pings are the library's own business.
            Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_) => {}
        }
        false
    }

    fn connected(&mut self, session_present: bool) {
        self.silent_closes = 0;
        self.events.options.set_clean_start(false);
        self.shared.metrics.connections.inc();
        match self.credentials.connected(Instant::now()) {
            Verdict::Unchanged => {}
            Verdict::Promoted => info!("The broker accepted the new certificate; it is in use"),
            Verdict::SetAside => self.set_aside(),
        }
        let mut number = 0;
        self.shared.connection.send_modify(|connection| {
            connection.number += 1;
            connection.up = true;
            connection.resumed = session_present;
            if !session_present {
                connection.broker_session += 1;
            }
            number = connection.number;
        });
        self.shared.open_ack_gate(number);
        info!(
            connection = number,
            resumed = session_present,
            "Connected to the broker"
        );
    }

    fn deliver(&mut self, publish: &Publish) {
        self.shared.metrics.received.inc();
        let number = self.shared.connection.borrow().number;
        let packet_id = (publish.qos != QoS::AtMostOnce).then_some(publish.pkid);
        let delivery = Delivery::new(message(publish), number, packet_id, self.shared.clone());
        if self.deliveries.try_send(delivery).is_err() {
            self.shared.metrics.redelivery_forced.inc();
            self.behind = packet_id.is_some();
        }
    }

    /// Counts and explains the failure; returns the delay before the next attempt.
    fn after_failure(
        &mut self,
        error: &ConnectError,
        established: bool,
        lasted: Duration,
    ) -> Duration {
        self.shared
            .metrics
            .disconnections
            .with_label_values(&[error.label()])
            .inc();
        if let ConnectError::Deliberate(reason) = error {
            info!("Reconnecting: {reason}");
            return Duration::ZERO;
        }
        if let ConnectError::Disconnected {
            code: 0x81 | 0x90 | 0x95 | 0x99,
            reason,
        } = error
        {
            // The library would replay the offending message for ever: forget the session, the pump sends again.
            self.events.reset_session_state();
            self.events.options.set_clean_start(true);
            self.shared.note_message_fault(reason.clone());
        }
        let silent = matches!(error, ConnectError::ClosedBeforeConnAck);
        self.silent_closes = if silent { self.silent_closes + 1 } else { 0 };
        if !established {
            let refused = error.is_refusal() && !silent;
            if self.credentials.failed(refused, Instant::now()) {
                self.set_aside();
            }
            self.use_current();
        }
        let mut delay = self.backoff.next_jittered(lasted);
        if error.is_refusal() && (!silent || self.silent_closes >= SILENT_CLOSES) {
            delay = delay.max(
                self.reconnect
                    .refused
                    .mul_f64(1.0 + rand::random::<f64>() / 2.0),
            );
        }
        warn!(
            cause = error.label(),
            retry_in_ms = delay.as_millis(),
            hint = error.hint(),
            "Lost the broker: {}",
            crate::error::chain(error)
        );
        delay
    }

    fn try_next(&mut self, config: Arc<rustls::ClientConfig>) {
        self.credentials.offer(config);
        self.use_current();
    }

    fn use_current(&mut self) {
        self.events
            .options
            .set_transport(transport(self.credentials.current().clone()));
    }

    fn set_aside(&self) {
        self.shared.metrics.identity_refusals.inc();
        warn!(
            "The broker refused the new certificate; the old one stays in use and the new one is tried again later"
        );
    }
}

/// Resolves with a TLS configuration when a new identity is published; never when there will be none.
async fn offered(
    identity: &mut watch::Receiver<Arc<Identity>>,
    options: &tls::Options,
) -> Arc<rustls::ClientConfig> {
    while identity.changed().await.is_ok() {
        let new = identity.borrow_and_update().clone();
        match tls::client_config(&new, options) {
            Ok(config) => return config,
            Err(error) => warn!(
                "Could not use the new certificate: {}",
                crate::error::chain(&error)
            ),
        }
    }
    std::future::pending().await
}

fn message(publish: &Publish) -> Message {
    let properties = publish.properties.as_ref();
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.clone(),
        content_type: properties.and_then(|properties| properties.content_type.clone()),
        user_properties: properties
            .map(|properties| properties.user_properties.clone())
            .unwrap_or_default(),
        retain: publish.retain,
        expiry_seconds: properties.and_then(|properties| properties.message_expiry_interval),
    }
}

// Closes before CONNACK in a row after which the broker is taken to refuse us.
const SILENT_CLOSES: u32 = 3;

// The DISCONNECT itself, after the pump drained.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);
