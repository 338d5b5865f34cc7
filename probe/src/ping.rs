//! `probe ping`: messages to oneself through the broker, and how long each took.

use std::time::Duration;

use bytes::Bytes;
use link::cli::Stdout;
use link::error::{ExitKind, Failure};
use link::iot::limits;
use link::message::Message;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::args::PingArgs;
use crate::connection::{Connection, ConnectionError, publish_error, publish_hint, publish_kind};
use crate::output::{Output, millis};
use crate::session::SessionSettings;
use crate::target::Target;

/// Runs the command.
///
/// # Errors
/// A failure of the kind that the exit code tells; any lost ping is one.
pub async fn run(args: &PingArgs) -> Result<(), Failure> {
    let target = Target::resolve(&args.connection, Output::of(args.output))?;
    let topic = target.topic_or_own(args.topic.as_deref())?;
    limits::check_topic(&topic).map_err(Failure::misuse)?;
    let identity = target.load_identity().map_err(Failure::misuse)?;
    let (filters, settings) = (vec![topic.clone()], SessionSettings::default());
    let mut connection = Connection::open(&target, identity, filters, &settings, args.timeout)
        .await
        .map_err(|error| error.into_failure(&target))?;
    let outcome = measure(args, &target, &topic, &mut connection).await;
    connection.close().await;
    match outcome? {
        Some(times) => finish(args, &topic, &times),
        None => Ok(()),
    }
}

/// Some pings did not come back.
#[derive(Debug, thiserror::Error)]
#[error("{lost} of {sent} pings on `{topic}` did not come back within {seconds} s")]
struct LostPings {
    lost: usize,
    sent: u32,
    topic: String,
    seconds: f32,
}

/// Round trip times, sorted, in the nearest-rank sense.
#[derive(Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) min: Duration,
    pub(crate) p50: Duration,
    pub(crate) p90: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

// === impl Summary ===

impl Summary {
    /// `None` when nothing came back.
    pub(crate) fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        // Nearest rank: the smallest value that at least so many percent of all are not above.
        let rank = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).copied().unwrap_or(max)
        };
        Some(Self {
            min,
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max,
        })
    }
}

// `None` when nobody reads the output any more.
async fn measure(
    args: &PingArgs,
    target: &Target,
    topic: &str,
    connection: &mut Connection,
) -> Result<Option<Vec<Duration>>, Failure> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let output = Output::of(args.output);
    let mut times = Vec::new();
    let mut next_at = Instant::now();
    for number in 1..=args.count {
        sleep_until(next_at).await;
        let started = Instant::now();
        next_at = started + Duration::from_millis(args.interval);
        let payload = payload(&nonce, number, args.size);
        let shown = match once(args, target, topic, connection, payload).await? {
            Some(time) => {
                times.push(time);
                let ms = millis(time);
                output.print(
                    || format!("{number}: {ms} ms"),
                    || json!({"type": "ping", "number": number, "ms": ms}),
                )?
            }
            None => output.print(
                || format!("{number}: nothing within {} s", args.timeout.as_secs_f32()),
                || json!({"type": "ping", "number": number, "ms": null}),
            )?,
        };
        if shown == Stdout::Closed {
            return Ok(None);
        }
    }
    Ok(Some(times))
}

async fn once(
    args: &PingArgs,
    target: &Target,
    topic: &str,
    connection: &mut Connection,
    payload: Bytes,
) -> Result<Option<Duration>, Failure> {
    let refused = |error| {
        let error = publish_error(error);
        let hint = publish_hint(&error, &target.arn, false);
        Failure::new(publish_kind(&error), error).with_hint(hint)
    };
    let started = Instant::now();
    let deadline = started + args.timeout;
    let receipt = connection
        .session
        .publish(Message::new(topic, payload.clone()))
        .await
        .map_err(refused)?;
    let session = connection.session.clone();
    let failed = Connection::refused(&session, target.address());
    let round_trip = async {
        // The message may come back before its acknowledgement; a refusal means that it never will.
        let coming = async { Ok(connection.returned(&payload).await) };
        tokio::try_join!(receipt, coming).map(|(_, returned)| returned)
    };
    tokio::select! {
        outcome = timeout_at(deadline, round_trip) => match outcome {
            Ok(Ok(Some(at))) => Ok(Some(at - started)),
            Ok(Ok(None)) => Err(ConnectionError::Closed.into_failure(target)),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Ok(None),
        },
        error = failed => Err(error.into_failure(target)),
    }
}

fn finish(args: &PingArgs, topic: &str, times: &[Duration]) -> Result<(), Failure> {
    let lost = (args.count as usize).saturating_sub(times.len());
    let output = Output::of(args.output);
    if let Some(summary) = Summary::of(times) {
        let Summary {
            min,
            p50,
            p90,
            p99,
            max,
        } = summary;
        let [min, p50, p90, p99, max] = [min, p50, p90, p99, max].map(millis);
        let _ = output.print(
            || format!("{} round trips on `{topic}`, {lost} lost: min {min} ms, p50 {p50} ms, p90 {p90} ms, p99 {p99} ms, max {max} ms", times.len()),
            || json!({
                "type": "result", "ok": lost == 0, "topic": topic, "returned": times.len(), "lost": lost,
                "minMs": min, "p50Ms": p50, "p90Ms": p90, "p99Ms": p99, "maxMs": max,
            }),
        )?;
    }
    if lost == 0 {
        return Ok(());
    }
    let error = LostPings {
        lost,
        sent: args.count,
        topic: topic.into(),
        seconds: args.timeout.as_secs_f32(),
    };
    let hint = if times.is_empty() {
        format!(
            "allow `iot:Receive` on `topic/{topic}`: without it messages are dropped in silence; `probe doctor` tells more"
        )
    } else {
        "give more time with `-W`, or a longer `--interval`".to_string()
    };
    Err(Failure::new(ExitKind::Timeout, error).with_hint(hint))
}

// Nonce and number, padded with dots: readable for whoever else listens on the topic.
fn payload(nonce: &str, number: u32, size: u32) -> Bytes {
    let mut text = format!("ping {} {number} ", &nonce[..12]);
    let missing = (size as usize).saturating_sub(text.len());
    text.extend(std::iter::repeat_n('.', missing));
    text.truncate(size as usize);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let ms = Duration::from_millis;
        let times: Vec<_> = (1..=100).rev().map(ms).collect();
        let summary = Summary::of(&times).unwrap();
        assert_eq!(
            summary,
            Summary {
                min: ms(1),
                p50: ms(50),
                p90: ms(90),
                p99: ms(99),
                max: ms(100)
            }
        );
        let one = Summary::of(&[ms(7)]).unwrap();
        assert_eq!((one.p50, one.p99), (ms(7), ms(7)));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn payload_has_the_size_asked_for_and_tells_pings_apart() {
        let nonce = "0123456789abcdef";
        assert_eq!(payload(nonce, 1, 64).len(), 64);
        assert_eq!(payload(nonce, 100_000, crate::args::PING_HEADER).len(), 32);
        assert_ne!(payload(nonce, 99_999, 32), payload(nonce, 100_000, 32));
    }
}
