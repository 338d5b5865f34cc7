//! A cache of authentication and authorisation answers with a lifetime of a few seconds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// Answers by the hash of their question, for [`KEPT`] at most. What was asked is not kept: it may be a token.
#[derive(Debug)]
pub(super) struct Cache<T> {
    answers: Mutex<HashMap<CacheKey, (Instant, T)>>,
}

/// A question, hashed.
pub(super) type CacheKey = [u8; 32];

/// The hash of a question in parts.
pub(super) fn key<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> CacheKey {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

// === impl Cache ===

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self {
            answers: Mutex::default(),
        }
    }
}

impl<T: Clone> Cache<T> {
    /// The answer, if it is not too old.
    pub(super) fn get(&self, key: &CacheKey) -> Option<T> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = answers.get(key)?;
        (at.elapsed() < KEPT).then(|| answer.clone())
    }

    /// Keeps an answer to a question that was asked at `at`.
    pub(super) fn put(&self, key: CacheKey, at: Instant, answer: T) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS {
            answers.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        // Only who sends thousands of different tokens within seconds gets there; asking again is right, too.
        if answers.len() >= ANSWERS {
            answers.clear();
        }
        answers.insert(key, (at, answer));
    }
}

/// How long an answer counts: how late a withdrawn right is noticed.
pub(super) const KEPT: Duration = Duration::from_secs(10);

// A few hundred bytes each.
const ANSWERS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_ten_seconds_from_when_it_was_asked_for() {
        let cache = Cache::default();
        let question = key([b"a".as_slice(), b"b"]);
        assert_ne!(question, key([b"ab".as_slice(), b""]));
        cache.put(question, Instant::now(), 1);
        tokio::time::advance(KEPT - Duration::from_millis(1)).await;
        assert_eq!(cache.get(&question), Some(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(cache.get(&question), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_past_the_most_leaves_no_more_than_that() {
        let cache = Cache::default();
        for number in 0..=ANSWERS {
            cache.put(
                key([number.to_be_bytes().as_slice()]),
                Instant::now(),
                number,
            );
        }
        assert!(cache.answers.lock().unwrap().len() <= ANSWERS);
        let last = key([ANSWERS.to_be_bytes().as_slice()]);
        assert_eq!(cache.get(&last), Some(ANSWERS));
    }
}
