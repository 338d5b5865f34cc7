//! Resync lists of agents that come in parts. The store joins them: with a shared subscription the parts of one list reach
//! several sessions of several replicas.
//!
//! What an agent sends is not believed: an unfinished list is bounded in parts, in bytes and in age, and all unfinished
//! lists together in bytes (`store/heard.rs`).

use jiff::{SignedDuration, Timestamp};
use link::bundle::resync::HeldVersion;
use link::clock::Clock;
use link::error::chain;
use link::event::{Event, RESYNC_ID, RESYNC_PART};
use link::id::ConsumerName;
use link::telemetry::clip;
use tokio::time::{Duration, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::{ResyncPart, Store};

/// What a resync request holds: the whole list, or a part of one.
#[derive(Debug)]
pub(in crate::delivery) enum Listed {
    Whole(Vec<HeldVersion>),
    Part(ResyncPart),
}

/// Reads which part of which list an event is; `at` stands in for the time that an event lacks. A Go agent's request has
/// no part number and is whole, and so is the only part of a list. Does no I/O.
///
/// # Errors
/// A sentence that says what is wrong with the part.
pub(in crate::delivery) fn listed(
    consumer: &ConsumerName,
    event: &Event,
    held: Vec<HeldVersion>,
    at: Timestamp,
) -> Result<Listed, String> {
    let Some(part) = event.extensions.get(RESYNC_PART) else {
        return Ok(Listed::Whole(held));
    };
    let (number, total) = parse(part)?;
    let list = event.extensions.get(RESYNC_ID).map_or("", String::as_str);
    if list.len() > ID_BYTES {
        return Err(format!(
            "attribute `{RESYNC_ID}` has {} bytes, at most {ID_BYTES} make sense",
            list.len()
        ));
    }
    if total == 1 {
        return Ok(Listed::Whole(held));
    }
    Ok(Listed::Part(ResyncPart {
        consumer: consumer.clone(),
        list: list.to_owned(),
        made_at: event.time.unwrap_or(at),
        number,
        total,
        held,
    }))
}

fn parse(part: &str) -> Result<(u32, u32), String> {
    part.split_once('/')
        .and_then(|(number, total)| Some((number.parse::<u32>().ok()?, total.parse::<u32>().ok()?)))
        .filter(|(number, total)| (1..=*total).contains(number) && *total <= MAX_PARTS)
        .ok_or_else(|| {
            format!(
                "attribute `{RESYNC_PART}` holds `{}`, not `1/3` with at most {MAX_PARTS} parts",
                clip(part, 20)
            )
        })
}

/// Forgets lists whose parts stay away, until `drain` is cancelled.
pub(in crate::delivery) async fn forget_old<S: Store>(
    store: S,
    clock: Clock,
    drain: CancellationToken,
) {
    let mut tick = interval(EVERY);
    while drain.run_until_cancelled(tick.tick()).await.is_some() {
        match store.prune_resyncs(clock.now() - AGE).await {
            Ok(0) => {}
            Ok(forgotten) => warn!(
                forgotten,
                "Forgot resync requests whose parts did not all come"
            ),
            // They are bounded in bytes, and the next round is soon.
            Err(error) => warn!("Could not forget old resync requests: {}", chain(&error)),
        }
    }
}

/// More parts than 100 000 works make, at 1 600 a part.
const MAX_PARTS: u32 = 64;

/// A list's id is a UUID.
const ID_BYTES: usize = 64;

/// The longest time from the first part to the last: 64 parts at IoT Core's 512 KiB a second take 15 seconds, and a part
/// that waits for another session a few minutes. A quarter of an hour more, because the clock that noted the first part
/// may be another replica's than the one that is asked now.
const AGE: SignedDuration = SignedDuration::from_mins(20);

const EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use link::event::{Action, Kind};

    use super::*;

    fn read(id: &str, part: &str) -> Result<Listed, String> {
        let consumer = ConsumerName::new("c1").unwrap();
        let kind = Kind::spec(Action::ResyncRequest);
        let mut event = Event::new("c1-work-agent", kind, &consumer, Timestamp::UNIX_EPOCH);
        event.extensions.insert(RESYNC_ID.into(), id.into());
        event.extensions.insert(RESYNC_PART.into(), part.into());
        listed(&consumer, &event, Vec::new(), Timestamp::MAX)
    }

    #[test]
    fn a_part_says_which_it_is_and_of_which_list() {
        let Listed::Part(part) = read("r", "2/3").unwrap() else {
            panic!("no part");
        };
        assert_eq!((part.list.as_str(), part.number, part.total), ("r", 2, 3));
        assert_eq!(part.made_at, Timestamp::UNIX_EPOCH);
        assert!(matches!(read("r", "1/1"), Ok(Listed::Whole(_))));
        for part in ["3/2", "0/2", "1/65", "1", "a/b", "-1/2"] {
            read("r", part).unwrap_err();
        }
        read(&"x".repeat(ID_BYTES + 1), "1/2").unwrap_err();
    }
}
