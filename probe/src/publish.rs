//! `probe publish`: success means that the broker has acknowledged every message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use link::error::{ExitKind, Failure, Hint};
use link::identity::Identity;
use link::iot::limits;
use link::message::Message;
use link::mqtt::{Ack, IN_FLIGHT_WINDOW, PublishError, Receipt};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::args::PublishArgs;
use crate::connection::{
    Connection, ConnectionError, connect_hint, publish_error, publish_hint, publish_kind,
};
use crate::output::{Output, OutputFormat, millis};
use crate::payload::{PayloadError, Payloads};
use crate::property::{Properties, Publishes};
use crate::session::SessionSettings;
use crate::target::Target;

/// Runs the command.
///
/// # Errors
/// A failure of the kind that the exit code tells; its text says how many messages were acknowledged before.
pub async fn run(args: &PublishArgs) -> Result<(), Failure> {
    let output = Output::of(args.output);
    let properties = Properties::parse(&args.property, Publishes::Yes).map_err(Failure::misuse)?;
    let target = Target::resolve(&args.connection, output)?;
    let topic = target.one_topic(args.topic.as_deref())?;
    limits::check_topic(&topic).map_err(Failure::misuse)?;
    let has_id = args.connection.id.is_some();
    let settings =
        SessionSettings::resolve(&args.session, &properties, has_id).map_err(Failure::misuse)?;
    let identity = target.load_identity().map_err(Failure::misuse)?;
    let payloads = Payloads::open(args).await.map_err(Failure::misuse)?;
    if args.qos == Some(0) {
        output
            .note("sent at QoS 1: nothing acknowledges QoS 0, and success here means acknowledged");
    }
    let job = Job {
        args,
        target: &target,
        topic,
        properties,
        settings,
        output,
        started: Instant::now(),
    };
    job.run(identity, payloads).await
}

struct Job<'a> {
    args: &'a PublishArgs,
    target: &'a Target,
    topic: String,
    properties: Properties,
    settings: SessionSettings,
    output: Output,
    started: Instant,
}

/// What has become of the messages so far.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    acknowledged: u64,
    unmatched: u64,
}

struct InFlight {
    number: u64,
    bytes: usize,
    sent_at: Instant,
    deadline: Instant,
    receipt: Receipt,
}

/// A publish run that did not reach its end.
#[derive(Debug, thiserror::Error)]
enum PublishFailure {
    #[error("message {number} ({acknowledged} acknowledged before)")]
    Publish {
        number: u64,
        acknowledged: u64,
        #[source]
        source: PublishError,
    },
    #[error("no acknowledgement for message {number} to `{topic}` within {} s ({acknowledged} acknowledged before)", within.as_secs_f32())]
    Timeout {
        number: u64,
        topic: String,
        within: Duration,
        acknowledged: u64,
    },
    #[error("{unacknowledged} message(s) not acknowledged, {acknowledged} were")]
    Connection {
        unacknowledged: u64,
        acknowledged: u64,
        #[source]
        source: ConnectionError,
    },
    #[error("input ended early ({acknowledged} message(s) acknowledged)")]
    Payload {
        acknowledged: u64,
        #[source]
        source: PayloadError,
    },
    #[error(
        "nobody is subscribed to `{topic}`: {unmatched} of {acknowledged} message(s) reached no subscriber"
    )]
    NoSubscriber {
        topic: String,
        unmatched: u64,
        acknowledged: u64,
    },
}

enum Happened {
    Acknowledged(Result<Ack, PublishError>),
    Payload(Result<Option<bytes::Bytes>, PayloadError>),
    Refused(ConnectionError),
    Late,
}

// === impl Job ===

impl Job<'_> {
    async fn run(&self, identity: Arc<Identity>, payloads: Payloads) -> Result<(), Failure> {
        let (settings, within) = (&self.settings, self.args.timeout);
        let mut connection = Connection::open(self.target, identity, Vec::new(), settings, within)
            .await
            .map_err(|error| error.into_failure(self.target))?;
        let mut tally = Tally::default();
        let outcome = self.pump(&mut connection, payloads, &mut tally).await;
        connection.close().await;
        outcome?;
        self.finish(&tally)
    }

    async fn pump(
        &self,
        connection: &mut Connection,
        mut payloads: Payloads,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let refused = Connection::refused(&connection.session, self.target.address());
        let mut refused = std::pin::pin!(refused);
        // What the broker takes at once; more would only wait in the session's queue.
        let window = usize::from(self.args.max_inflight.unwrap_or(IN_FLIGHT_WINDOW));
        let mut waiting: VecDeque<InFlight> = VecDeque::with_capacity(window);
        let mut more = true;
        while more || !waiting.is_empty() {
            let late_at = waiting.front().map(|front| front.deadline);
            let happened = tokio::select! {
                biased;
                resolved = first(&mut waiting), if !waiting.is_empty() => Happened::Acknowledged(resolved),
                error = &mut refused => Happened::Refused(error),
                () = sleep_until(late_at.unwrap_or_else(Instant::now)), if late_at.is_some() => Happened::Late,
                payload = payloads.next(), if more && waiting.len() < window => Happened::Payload(payload),
            };
            match happened {
                Happened::Payload(Ok(None)) => more = false,
                Happened::Payload(Ok(Some(payload))) => {
                    self.send(connection, payload, tally, &mut waiting).await?;
                }
                Happened::Payload(Err(source)) => {
                    let acknowledged = tally.acknowledged;
                    return Err(self.failure(
                        ExitKind::Failed,
                        PublishFailure::Payload {
                            acknowledged,
                            source,
                        },
                    ));
                }
                Happened::Acknowledged(resolved) => {
                    self.acknowledged(resolved, tally, &mut waiting)?;
                }
                Happened::Refused(source) => {
                    let kind = source.kind();
                    let (unacknowledged, acknowledged) =
                        (tally.sent - tally.acknowledged, tally.acknowledged);
                    return Err(self.failure(
                        kind,
                        PublishFailure::Connection {
                            unacknowledged,
                            acknowledged,
                            source,
                        },
                    ));
                }
                Happened::Late => {
                    let error = PublishFailure::Timeout {
                        number: tally.acknowledged + 1,
                        topic: self.topic.clone(),
                        within: self.args.timeout,
                        acknowledged: tally.acknowledged,
                    };
                    return Err(self.failure(ExitKind::Timeout, error));
                }
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        connection: &Connection,
        payload: bytes::Bytes,
        tally: &mut Tally,
        waiting: &mut VecDeque<InFlight>,
    ) -> Result<(), Failure> {
        let mut message = self
            .properties
            .apply(Message::new(self.topic.clone(), payload));
        message.retain = self.args.retain;
        let (bytes, sent_at) = (message.payload.len(), Instant::now());
        // Lines of standard input come at somebody else's pace, and what is repeated at the one that was asked for.
        let from = if self.args.stdin_line || self.args.repeat.is_some() {
            sent_at
        } else {
            self.started
        };
        // Does not wait: the session's queue holds two windows and at most one is open here.
        let receipt = connection
            .session
            .publish(message)
            .await
            .map_err(|source| self.refusal(tally, source))?;
        tally.sent += 1;
        debug!(
            bytes,
            retain = self.args.retain,
            "Sending PUBLISH {} on `{}`",
            tally.sent,
            self.topic
        );
        waiting.push_back(InFlight {
            number: tally.sent,
            bytes,
            sent_at,
            deadline: from + self.args.timeout,
            receipt,
        });
        Ok(())
    }

    fn acknowledged(
        &self,
        resolved: Result<Ack, PublishError>,
        tally: &mut Tally,
        waiting: &mut VecDeque<InFlight>,
    ) -> Result<(), Failure> {
        let ack = resolved.map_err(|source| self.refusal(tally, source))?;
        let Some(message) = waiting.pop_front() else {
            return Ok(());
        };
        tally.acknowledged += 1;
        tally.unmatched += u64::from(!ack.matched);
        debug!(
            matched = ack.matched,
            "Received PUBACK for message {}", message.number
        );
        if self.output.format == OutputFormat::Json {
            let line = json!({
                "type": "message", "number": message.number, "topic": self.topic, "bytes": message.bytes,
                "acknowledged": true, "matched": ack.matched, "ms": millis(message.sent_at.elapsed()),
            });
            let _ = link::cli::stdout_line(&line.to_string())?;
        }
        Ok(())
    }

    fn finish(&self, tally: &Tally) -> Result<(), Failure> {
        let topic = &self.topic;
        if tally.unmatched > 0 && self.args.require_subscriber {
            let error = PublishFailure::NoSubscriber {
                topic: topic.clone(),
                unmatched: tally.unmatched,
                acknowledged: tally.acknowledged,
            };
            return Err(self.failure(ExitKind::Failed, error));
        }
        if tally.unmatched > 0 {
            self.output.note(&format!(
                "nobody is subscribed to `{topic}`: {} of {} message(s) reached no subscriber",
                tally.unmatched, tally.acknowledged
            ));
        }
        let ms = millis(self.started.elapsed());
        let _ = self.output.print(
            || {
                format!(
                    "{} message(s) to `{topic}` acknowledged in {ms} ms",
                    tally.acknowledged
                )
            },
            || {
                json!({
                    "type": "result", "ok": true, "topic": topic, "clientId": self.target.client_id,
                    "acknowledged": tally.acknowledged, "unmatched": tally.unmatched, "ms": ms,
                })
            },
        )?;
        Ok(())
    }

    fn refusal(&self, tally: &Tally, source: PublishError) -> Failure {
        let source = publish_error(source);
        let hint = publish_hint(&source, &self.target.arn, self.args.retain);
        let kind = publish_kind(&source);
        // The library's text names the topic already; with one message its number says nothing.
        if self.args.stdin_line {
            let number = tally.acknowledged + 1;
            let acknowledged = tally.acknowledged;
            return Failure::new(
                kind,
                PublishFailure::Publish {
                    number,
                    acknowledged,
                    source,
                },
            )
            .with_hint(hint);
        }
        Failure::new(kind, source).with_hint(hint)
    }

    fn failure(&self, kind: ExitKind, error: PublishFailure) -> Failure {
        let hint = match &error {
            PublishFailure::Connection {
                source: ConnectionError::Connect { source, .. },
                ..
            } => connect_hint(source, self.target),
            PublishFailure::Timeout { .. } => {
                Some("run `probe doctor` with the same options of the connection, or give more time with `-W`".into())
            }
            PublishFailure::Payload { source, .. } => source.hint(),
            PublishFailure::NoSubscriber { .. } => {
                Some("start the subscriber first, and compare its filter with this topic".into())
            }
            _ => None,
        };
        Failure::new(kind, error).with_hint(hint)
    }
}

// The oldest message that waits; acknowledgements come in order, so the others are seldom far behind.
async fn first(waiting: &mut VecDeque<InFlight>) -> Result<Ack, PublishError> {
    match waiting.front_mut() {
        Some(front) => (&mut front.receipt).await,
        None => std::future::pending().await,
    }
}
