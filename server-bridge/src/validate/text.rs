//! Limits of JSON text from outside: no duplicate members, no number or depth that a peer cannot read, and no more values than
//! can be stored.
//!
//! **Invariant:** a value takes up to 130 times the bytes of its text, so values are counted before any is made: those of
//! one text ([`VALUES`]), and those of all texts in hand, for which callers wait ([`room`]).

use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{Invalid, unique};
use crate::store::{InvalidJson, Json};

/// Why text is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is JSON that breaks a rule, which names its place.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Malformed(serde_json::Error),
}

/// What values of texts take of the memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _values: SemaphorePermit<'static>,
}

/// At least as many values as the text has, by its structure alone: an array or object that is not empty has one more
/// than it has commas.
pub(crate) fn count(text: &[u8]) -> usize {
    let mut count = 1;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' | b'[' | b'{' => count += 1,
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => _ = bytes.next(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    count
}

/// Room for so many values, which is waited for; `None` if there was none in time.
pub(crate) async fn room(values: usize) -> Option<Room> {
    let _values = room_of(&ROOM, values).await?;
    Some(Room { _values })
}

async fn room_of(all: &Semaphore, values: usize) -> Option<SemaphorePermit<'_>> {
    // More than all are refused without being made.
    let values = u32::try_from(values.min(AT_ONCE)).unwrap_or(u32::MAX);
    let taken = timeout(ROOM_WITHIN, all.acquire_many(values)).await;
    taken.ok()?.ok()
}

/// Does work on so many values, off the threads that serve others if it takes long. `None`: it failed.
pub(crate) async fn apart<T: Send + 'static>(
    values: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if values <= FEW {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}

/// The value of a text.
pub(crate) fn read(text: &[u8]) -> Result<Value, Unreadable> {
    if count(text) > VALUES {
        return Err(Invalid(format!(
            "more than {VALUES} JSON values, which no bundle has"
        ))
        .into());
    }
    let twice = unique::twice(text);
    match serde_json::from_slice(text) {
        Ok(_) if !twice.is_empty() => {
            let told: Vec<String> = twice
                .iter()
                .map(|path| format!("{path}: is there twice, and only one of the two can count"))
                .collect();
            Err(Invalid(told.join("; ")).into())
        }
        Ok(value) => Ok(value),
        Err(error) => match std::str::from_utf8(text).map(Json::check) {
            // A number that is too large is named with its field.
            Ok(Err(found @ (InvalidJson::Number { .. } | InvalidJson::Depth))) => {
                Err(Invalid(found.to_string()).into())
            }
            _ => Err(Unreadable::Malformed(error)),
        },
    }
}

/// Values of one text: the longest payload, 128 KiB, has no more, each with a comma.
pub(crate) const VALUES: usize = 64 * 1024;

// Of all texts in hand: 150 MiB of the worst, some thousand usual bundles.
const AT_ONCE: usize = 4 * VALUES;
static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);
const ROOM_WITHIN: Duration = Duration::from_secs(5);

// Read within a few milliseconds.
const FEW: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_structure_and_not_inside_strings() {
        for (text, values) in [
            ("1", 1),
            ("[]", 2),
            (r#"{"a":1,"b":[1,2]}"#, 5),
            (r#"{"a,[{\"":"x\\","b":","}"#, 3),
            (r#"["open, and never closed"#, 2),
        ] {
            assert_eq!(count(text.as_bytes()), values, "{text}");
        }
    }

    #[test]
    fn a_text_has_as_many_values_as_can_be_stored_and_not_one_more() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 2));
        assert!(read(list(VALUES).as_bytes()).is_ok());
        let refused = read(list(VALUES + 1).as_bytes()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "more than 65536 JSON values, which no bundle has"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn values_of_all_texts_have_bounded_room() {
        let rooms = Semaphore::new(AT_ONCE);
        let all = room_of(&rooms, AT_ONCE + 1).await;
        assert!(all.is_some());
        assert!(room_of(&rooms, 1).await.is_none());
    }
}
