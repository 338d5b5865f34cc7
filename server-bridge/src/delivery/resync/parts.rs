//! Joins the parts of resync requests. One request per consumer; a newer one replaces an unfinished one.
//!
//! What an agent sends is not believed: an unfinished request is bounded in parts, in bytes and in age, and all
//! unfinished requests together in bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use link::bundle::resync::HeldVersion;
use link::event::{Event, RESYNC_ID, RESYNC_PART};
use link::id::ConsumerName;
use link::telemetry::clip;
use tokio::time::Instant;

/// Parts of requests that have not come in full.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Parts(Mutex<HashMap<ConsumerName, Request>>);

#[derive(Debug)]
struct Request {
    id: String,
    total: u32,
    parts: BTreeMap<u32, Vec<HeldVersion>>,
    // Of payload, counted once for each part.
    bytes: usize,
    began: Instant,
}

// === impl Parts ===

impl Parts {
    /// Adds a request, or a part of one. Gives the whole list once it is complete.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the part, or with the request it belongs to, which is then forgotten.
    pub(in crate::delivery) fn add(
        &self,
        consumer: &ConsumerName,
        event: &Event,
        held: Vec<HeldVersion>,
        now: Instant,
    ) -> Result<Option<Vec<HeldVersion>>, String> {
        // A Go agent's request has no part number and is whole.
        let Some(part) = event.extensions.get(RESYNC_PART) else {
            return Ok(Some(held));
        };
        let (number, total) = parse(part)?;
        let id = event.extensions.get(RESYNC_ID).map_or("", String::as_str);
        if id.len() > ID_BYTES {
            return Err(format!(
                "attribute `{RESYNC_ID}` has {} bytes, at most {ID_BYTES} make sense",
                id.len()
            ));
        }
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.retain(|_, request| now < request.began + AGE);
        if requests
            .get(consumer)
            .is_some_and(|request| request.id != id || request.total != total)
        {
            requests.remove(consumer);
        }
        let request = requests.entry(consumer.clone()).or_insert_with(|| Request {
            id: id.to_owned(),
            total,
            parts: BTreeMap::new(),
            bytes: 0,
            began: now,
        });
        let bytes = event.data_bytes().len();
        if request.parts.insert(number, held).is_none() {
            request.bytes += bytes;
        }
        if request.bytes > REQUEST_BYTES {
            let bytes = request.bytes;
            requests.remove(consumer);
            return Err(format!(
                "the parts of the request hold {bytes} bytes so far, the limit is {REQUEST_BYTES}"
            ));
        }
        if request.parts.len() == total as usize {
            return Ok(requests
                .remove(consumer)
                .map(|request| request.parts.into_values().flatten().collect()));
        }
        make_room(&mut requests);
        Ok(None)
    }

    /// Forgets requests whose parts stay away; how many.
    pub(in crate::delivery) fn forget_old(&self, now: Instant) -> usize {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = requests.len();
        requests.retain(|_, request| now < request.began + AGE);
        before - requests.len()
    }
}

/// Lets go of the oldest requests until all together are within their bound.
fn make_room(requests: &mut HashMap<ConsumerName, Request>) {
    while requests
        .values()
        .map(|request| request.bytes)
        .sum::<usize>()
        > ALL_BYTES
    {
        let oldest = requests
            .iter()
            .min_by_key(|(_, request)| request.began)
            .map(|(consumer, _)| consumer.clone());
        let Some(oldest) = oldest else { return };
        requests.remove(&oldest);
    }
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

/// More parts than 100 000 works make, at 1 600 a part.
const MAX_PARTS: u32 = 64;

/// Payload of one unfinished request: 64 parts of 120 000 bytes. In memory it takes about twice as much.
const REQUEST_BYTES: usize = 8_000_000;

/// Payload of all unfinished requests: four of the largest consumers, or 600 of 1 600 works, subscribe at a time.
const ALL_BYTES: usize = 32_000_000;

/// The longest time from the first part to the last: 64 parts at IoT Core's 512 KiB a second take 15 seconds.
const AGE: Duration = Duration::from_secs(300);

/// A request's id is a UUID.
const ID_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use link::event::{Action, Kind};
    use link::order::Version;

    use super::*;

    fn consumer(name: &str) -> ConsumerName {
        ConsumerName::new(name).unwrap()
    }

    fn part(id: &str, part: &str, bytes: usize) -> Event {
        let kind = Kind::spec(Action::ResyncRequest);
        let mut event = Event::new(
            "c1-work-agent",
            kind,
            &consumer("c1"),
            Timestamp::UNIX_EPOCH,
        )
        .with_data(vec![b' '; bytes]);
        event.extensions.insert(RESYNC_ID.into(), id.into());
        event.extensions.insert(RESYNC_PART.into(), part.into());
        event
    }

    fn held(id: &str) -> Vec<HeldVersion> {
        vec![HeldVersion {
            resource_id: id.into(),
            resource_version: Version::FIRST,
        }]
    }

    #[test]
    fn a_request_in_parts_counts_once_all_parts_are_there_in_any_order_and_repeated() {
        let (parts, c1, now) = (Parts::default(), consumer("c1"), Instant::now());
        assert_eq!(
            parts.add(&c1, &part("r", "2/2", 1), held("b"), now),
            Ok(None)
        );
        assert_eq!(
            parts.add(&c1, &part("r", "2/2", 1), held("b"), now),
            Ok(None)
        );
        let whole = parts
            .add(&c1, &part("r", "1/2", 1), held("a"), now)
            .unwrap()
            .unwrap();
        assert_eq!(whole, [held("a"), held("b")].concat());
    }

    #[test]
    fn a_newer_request_replaces_an_unfinished_one() {
        let (parts, c1, now) = (Parts::default(), consumer("c1"), Instant::now());
        for (id, number, work) in [
            ("old", "1/2", "a"),
            ("new", "2/3", "b"),
            ("new", "2/2", "b"),
        ] {
            assert_eq!(
                parts.add(&c1, &part(id, number, 1), held(work), now),
                Ok(None)
            );
        }
        let whole = parts
            .add(&c1, &part("new", "1/2", 1), held("c"), now)
            .unwrap()
            .unwrap();
        assert_eq!(whole, [held("c"), held("b")].concat());
        for number in ["3/2", "0/2", "1/65", "1", "a/b", "-1/2"] {
            assert!(
                parts
                    .add(&c1, &part("new", number, 1), held("c"), now)
                    .is_err()
            );
        }
        let long = part(&"x".repeat(ID_BYTES + 1), "1/2", 1);
        assert!(parts.add(&c1, &long, held("c"), now).is_err());
    }

    #[test]
    fn unfinished_requests_are_bounded_in_bytes_and_in_age() {
        let (parts, c1, now) = (Parts::default(), consumer("c1"), Instant::now());
        let piece = REQUEST_BYTES / 8;
        for number in 1..=8 {
            let event = part("r", &format!("{number}/64"), piece);
            assert_eq!(parts.add(&c1, &event, held("a"), now), Ok(None));
            // Repeated, it counts once.
            assert_eq!(parts.add(&c1, &event, held("a"), now), Ok(None));
        }
        let error = parts
            .add(&c1, &part("r", "9/64", 1), held("a"), now)
            .unwrap_err();
        assert!(error.contains("the limit is 8000000"), "{error}");
        assert_eq!(parts.forget_old(now + AGE), 0, "it was forgotten");

        for number in 0..=ALL_BYTES / REQUEST_BYTES {
            let began = now + Duration::from_secs(number as u64);
            let event = part("r", "1/2", REQUEST_BYTES);
            let name = consumer(&format!("c{number}"));
            assert_eq!(parts.add(&name, &event, held("a"), began), Ok(None));
        }
        // The oldest had to go; the others wait until they are too old.
        assert_eq!(parts.0.lock().unwrap().len(), ALL_BYTES / REQUEST_BYTES);
        assert!(!parts.0.lock().unwrap().contains_key(&consumer("c0")));
        assert_eq!(parts.forget_old(now + AGE), 0);
        assert_eq!(parts.forget_old(now + AGE + AGE), ALL_BYTES / REQUEST_BYTES);
    }
}
