//! What is asked of the overview: parameters, and the rows and order that they choose. Pure.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::super::error::ApiError;
use super::row::{Health, Row};
use crate::store::PresenceState;
use crate::validate::{unknown, unknown_as};

/// Parameters after they were checked.
#[derive(Debug)]
pub(super) struct OverviewRequest {
    pub(super) page: u64,
    pub(super) size: usize,
    /// Seconds after which what waits is stuck.
    pub(super) stuck_after: u32,
    contains: String,
    name_contains: String,
    health: Option<Health>,
    presence: Option<PresenceState>,
    key: Key,
    descending: bool,
}

/// What rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Name,
    Health,
    Presence,
    PresenceSince,
    LastSeenAt,
    CertificateExpiresAt,
    Bundles,
    Waiting,
    OldestWaitingSince,
}

// === impl OverviewRequest ===

impl OverviewRequest {
    pub(super) fn parse(parameters: Vec<(String, String)>) -> Result<Self, ApiError> {
        let mut request = Self {
            page: 1,
            size: DEFAULT_SIZE,
            stuck_after: STUCK_AFTER,
            contains: String::new(),
            name_contains: String::new(),
            health: None,
            presence: None,
            key: Key::Name,
            descending: false,
        };
        for (name, value) in parameters {
            match name.as_str() {
                "page" => request.page = number(&name, &value, 1, u64::from(u32::MAX))?,
                "size" => {
                    let size = number(&name, &value, 0, u64::MAX)?;
                    request.size = usize::try_from(size).unwrap_or(MAX_SIZE).min(MAX_SIZE);
                }
                "stuck_after" => {
                    let seconds = number(&name, &value, 0, LONGEST)?;
                    request.stuck_after = u32::try_from(seconds).unwrap_or(STUCK_AFTER);
                }
                "contains" => request.contains = value.to_lowercase(),
                "name_contains" => request.name_contains = value.to_lowercase(),
                "health" => {
                    request.health = word(&name, &value, Health::ALL, Health::as_str)?;
                }
                "presence" => {
                    request.presence =
                        word(&name, &value, &PresenceState::ALL, PresenceState::as_str)?;
                }
                "orderBy" => (request.key, request.descending) = order(&value)?,
                _ => {
                    let unknown = unknown_as("query parameter", &name, PARAMETERS);
                    return Err(ApiError::bad_request(unknown));
                }
            }
        }
        Ok(request)
    }

    /// Rows on the pages before.
    pub(super) fn offset(&self) -> usize {
        let before = (self.page - 1).saturating_mul(self.size as u64);
        usize::try_from(before).unwrap_or(usize::MAX)
    }

    /// Whether the row is on some page.
    pub(super) fn takes(&self, row: &Row, health: Health) -> bool {
        self.health.is_none_or(|wanted| wanted == health)
            && self
                .presence
                .is_none_or(|wanted| wanted == row.agent.state())
            && row.consumer.name.as_str().contains(&self.name_contains)
            && (self.contains.is_empty() || row.contains(&self.contains))
    }

    /// Puts rows in order: those of one value by what waits longest and by name, and those without a value last, whatever
    /// the direction.
    pub(super) fn sort(&self, rows: &mut [(&Row, Health)]) {
        rows.sort_by(|(a, of_a), (b, of_b)| {
            let ordered = match self.key {
                Key::Name => self.directed(a.consumer.name.cmp(&b.consumer.name)),
                Key::Health => self.directed(of_a.cmp(of_b)),
                Key::Presence => {
                    let of = |row: &Row| place(row.agent.state());
                    self.directed(of(a).cmp(&of(b)))
                        .then_with(|| earliest(a.agent.since(), b.agent.since()))
                }
                Key::PresenceSince => self.times(a.agent.since(), b.agent.since()),
                Key::Bundles => self.directed(a.load.bundles.cmp(&b.load.bundles)),
                Key::Waiting => self.directed(a.waiting().cmp(&b.waiting())),
                Key::CertificateExpiresAt => self.times(
                    a.agent.certificate_expires_at,
                    b.agent.certificate_expires_at,
                ),
                Key::LastSeenAt => self.times(a.consumer.last_seen_at, b.consumer.last_seen_at),
                Key::OldestWaitingSince => {
                    self.times(a.load.oldest_waiting_since, b.load.oldest_waiting_since)
                }
            };
            let (since, other) = (a.load.oldest_waiting_since, b.load.oldest_waiting_since);
            ordered
                .then_with(|| earliest(since, other))
                .then_with(|| a.consumer.name.cmp(&b.consumer.name))
        });
    }

    fn directed(&self, ordering: Ordering) -> Ordering {
        match self.descending {
            true => ordering.reverse(),
            false => ordering,
        }
    }

    fn times(&self, a: Option<Timestamp>, b: Option<Timestamp>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => self.directed(a.cmp(&b)),
            _ => a.is_none().cmp(&b.is_none()),
        }
    }
}

fn number(name: &str, value: &str, least: u64, most: u64) -> Result<u64, ApiError> {
    let parsed = value.parse::<u64>().ok();
    parsed
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            let shown: String = value.chars().take(SHOWN).collect();
            ApiError::bad_request(format!(
                "query parameter `{name}` must be a number from {least} to {most}, not `{shown}`"
            ))
        })
}

/// One of these words, or none of them.
fn word<T: Copy>(
    name: &str,
    value: &str,
    all: &[T],
    written: impl Fn(T) -> &'static str,
) -> Result<Option<T>, ApiError> {
    if value.is_empty() {
        return Ok(None);
    }
    let mut known = all.iter().copied();
    known
        .find(|word| written(*word) == value)
        .map(Some)
        .ok_or_else(|| {
            let words: Vec<&str> = all.iter().map(|word| written(*word)).collect();
            let unknown = unknown(value, &words);
            ApiError::bad_request(format!("query parameter `{name}`: {unknown}"))
        })
}

/// Where agents that are so come: those that somebody has to look after first.
const fn place(state: PresenceState) -> u8 {
    match state {
        PresenceState::Away => 0,
        PresenceState::Never => 1,
        PresenceState::Unknown => 2,
        PresenceState::Connected => 3,
        PresenceState::Idle => 4,
    }
}

/// What has lasted longest first, and what has no beginning last.
fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Ordering {
    a.is_none().cmp(&b.is_none()).then_with(|| a.cmp(&b))
}

fn order(value: &str) -> Result<(Key, bool), ApiError> {
    let mut words = value.split_whitespace();
    let name = words.next().unwrap_or("name");
    let Some((_, key)) = KEYS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
        let unknown = unknown(name, &known);
        return Err(ApiError::bad_request(format!(
            "query parameter `orderBy`: {unknown}"
        )));
    };
    match (words.next(), words.next()) {
        (None | Some("asc"), None) => Ok((*key, false)),
        (Some("desc"), None) => Ok((*key, true)),
        _ => Err(ApiError::bad_request(
            "query parameter `orderBy` is one column, and `asc` or `desc`",
        )),
    }
}

const KEYS: &[(&str, Key)] = &[
    ("name", Key::Name),
    ("health", Key::Health),
    ("presence", Key::Presence),
    ("presence_since", Key::PresenceSince),
    ("last_seen_at", Key::LastSeenAt),
    ("certificate_expires_at", Key::CertificateExpiresAt),
    ("bundles", Key::Bundles),
    ("waiting", Key::Waiting),
    ("oldest_waiting_since", Key::OldestWaitingSince),
];

const PARAMETERS: &[&str] = &[
    "page",
    "size",
    "orderBy",
    "contains",
    "name_contains",
    "health",
    "presence",
    "stuck_after",
];

const DEFAULT_SIZE: usize = 100;
// What a page can show; whoever wants all of it reads lists of consumers.
const MAX_SIZE: usize = 500;

/// What the alerts call slow begins later; who looks at the page wants to know earlier.
const STUCK_AFTER: u32 = 300;
const LONGEST: u64 = 365 * 24 * 3600;
const SHOWN: usize = 60;
