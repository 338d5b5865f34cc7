//! Keeps log lines few and short where a peer decides how many there are and what they say.
//!
//! **Contract:** of one kind at most one line is written per interval, and of all kinds together at most as many as the
//! throttle remembers; what was held back is counted. A clipped text is one line of bounded length.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One log line per kind and interval. `K` is the kind; take it from a closed set where possible.
#[derive(Debug)]
pub struct Throttle<K> {
    interval: Duration,
    capacity: usize,
    kinds: Mutex<Kinds<K>>,
}

#[derive(Debug)]
struct Kinds<K> {
    known: HashMap<K, Kind>,
    // Held back of kinds that are not remembered; counted with the next line of any kind.
    untracked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    written: Instant,
    held: u64,
}

// === impl Throttle ===

impl<K: Eq + Hash + Clone> Throttle<K> {
    /// At most one line per `interval` of each kind. At most `capacity` kinds (at least one) are remembered: the oldest
    /// goes once its interval is over, and while none can go a line of a new kind is held back.
    pub fn new(interval: Duration, capacity: usize) -> Self {
        Self {
            interval,
            capacity: capacity.max(1),
            kinds: Mutex::new(Kinds {
                known: HashMap::new(),
                untracked: 0,
            }),
        }
    }

    /// `Some(n)`: write the line; `n` were held back since the last one. `None`: hold it back.
    pub fn admit(&self, key: &K, now: Instant) -> Option<u64> {
        // Nothing under this lock panics half-way.
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |kind: &Kind| now.saturating_duration_since(kind.written) >= self.interval;
        if let Some(kind) = kinds.known.get_mut(key) {
            if !is_over(kind) {
                kind.held += 1;
                return None;
            }
            let held = kind.held;
            *kind = Kind {
                written: now,
                held: 0,
            };
            return Some(held + std::mem::take(&mut kinds.untracked));
        }
        if kinds.known.len() >= self.capacity {
            let oldest = kinds.known.iter().min_by_key(|(_, kind)| kind.written);
            match oldest.map(|(key, kind)| (key.clone(), *kind)) {
                Some((oldest, kind)) if is_over(&kind) => {
                    kinds.known.remove(&oldest);
                    kinds.untracked += kind.held;
                }
                _ => {
                    kinds.untracked += 1;
                    return None;
                }
            }
        }
        let written = Kind {
            written: now,
            held: 0,
        };
        kinds.known.insert(key.clone(), written);
        Some(std::mem::take(&mut kinds.untracked))
    }
}

/// A text on one line of at most about `max_bytes`: control characters and those that turn the direction of writing are
/// escaped, and what is left out is said as `… (N bytes)` with the size of the whole text.
pub fn clip(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes && !text.chars().any(misleads) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(max_bytes.min(text.len()) + 24);
    for character in text.chars() {
        let before = shown.len();
        if misleads(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        if shown.len() > max_bytes {
            shown.truncate(before);
            shown.push_str(&format!("… ({} bytes)", text.len()));
            break;
        }
    }
    Cow::Owned(shown)
}

// Ends a line, moves a terminal's cursor or makes a line read differently from what it says.
fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn one_line_per_kind_and_interval_with_what_was_held_back() {
        let throttle = Throttle::new(MINUTE, 2);
        let now = Instant::now();
        assert_eq!(throttle.admit(&"a", now), Some(0));
        assert_eq!(throttle.admit(&"b", now), Some(0));
        for _ in 0..1_000 {
            assert_eq!(throttle.admit(&"a", now + MINUTE / 2), None);
        }
        let later = now + MINUTE;
        assert_eq!(throttle.admit(&"a", later), Some(1_000));
        assert_eq!(throttle.admit(&"a", later), None);
        assert_eq!(throttle.admit(&"b", later), Some(0));
    }

    #[test]
    fn endless_new_kinds_write_no_more_lines_than_are_remembered() {
        let throttle = Throttle::new(MINUTE, 3);
        let now = Instant::now();
        let written = (0..10_000).filter(|key| throttle.admit(key, now).is_some());
        assert_eq!(written.count(), 3);
        // The oldest goes once its interval is over, and nothing held back is forgotten.
        assert_eq!(throttle.admit(&20_000, now + MINUTE), Some(9_997));
        assert_eq!(throttle.kinds.lock().unwrap().known.len(), 3);
    }

    #[test]
    fn a_clipped_text_is_one_bounded_line() {
        assert!(matches!(clip("plain", 5), Cow::Borrowed("plain")));
        assert_eq!(clip("plains", 5), "plain… (6 bytes)");
        assert_eq!(
            clip("a\nb\u{1b}[2J\u{202e}", 100),
            "a\\nb\\u{1b}[2J\\u{202e}"
        );
        assert_eq!(clip("aé", 2), "a… (3 bytes)");
        assert_eq!(clip("", 0), "");
    }

    proptest! {
        #[test]
        fn any_text_is_clipped_to_one_line(text in ".{0,80}|[\\PC\n\r]{0,40}", max in 0usize..60) {
            let shown = clip(&text, max);
            prop_assert!(!shown.chars().any(misleads));
            prop_assert!(shown.len() <= max + 24);
        }
    }
}
