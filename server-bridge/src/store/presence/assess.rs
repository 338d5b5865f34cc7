//! Whether an agent is there, from what is known of it; pure.
//!
//! What the broker says of a connection counts as long as nothing says otherwise: an end is believed only if nothing was
//! heard since, a beginning only if bridges have listened since then or the agent was heard. Missing reports make an agent
//! away only if it reports at all and bridges listened meanwhile.

use jiff::{SignedDuration, Timestamp};
use link::event::agent_report::REPORT_INTERVAL;

use super::{Presence, is_ahead};

/// How an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PresenceState {
    /// It is there, and something is on its way to it or from it.
    Connected,
    /// It is there, and has nothing to do.
    Idle,
    /// It is not there.
    Away,
    /// Nothing was ever heard of it.
    Never,
    /// It may be there or not: it reports nothing of itself, or no bridge has listened for long enough.
    Unknown,
}

/// What else a judgement depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The time, by the store's clock.
    pub now: Timestamp,
    /// Since when bridges have listened ([`super::PresenceStore::listening_since`]).
    pub listening_since: Option<Timestamp>,
    /// Whether any bundle waits on its way ([`super::super::Load`]).
    pub waits: bool,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// How the agent is.
    pub state: PresenceState,
    /// Since when: of one that is there, since it connected; of one that is away, since it went or was heard last.
    pub since: Option<Timestamp>,
    /// Why it went, or why it is not known: the broker's word, or one of [`reason`].
    pub reason: Option<String>,
    /// Since when it is connected, if it is: by the broker's clock, or by its own where the broker says nothing.
    pub connected_since: Option<Timestamp>,
}

/// Our own words for why.
pub mod reason {
    /// The agent reports of itself, and reports have been missing for twice their interval.
    pub const REPORTS_MISSING: &str = "REPORTS_MISSING";
    /// The agent reports nothing of itself, as a Go agent does.
    pub const REPORTS_NOTHING: &str = "REPORTS_NOTHING";
    /// Nothing is known, and bridges have not listened for long enough to say that nothing ever came.
    pub const NOT_LISTENED_LONG_ENOUGH: &str = "NOT_LISTENED_LONG_ENOUGH";
    /// What is known is of before the present bridges began to listen.
    pub const NOT_HEARD_SINCE_RESTART: &str = "NOT_HEARD_SINCE_RESTART";
    /// The connection ended, and the broker did not say why.
    pub const NO_REASON: &str = "NO_REASON";
}

// === impl PresenceState ===

impl PresenceState {
    /// Every state, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::Connected,
        Self::Idle,
        Self::Away,
        Self::Never,
        Self::Unknown,
    ];

    /// The word, also the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Idle => "idle",
            Self::Away => "away",
            Self::Never => "never",
            Self::Unknown => "unknown",
        }
    }
}

/// Judges.
pub fn assess(presence: &Presence, circumstances: Circumstances) -> Assessment {
    let heard = presence.heard_by(circumstances.now);
    if let Some(event) = &presence.connection
        && !event.connected
        && heard.is_none_or(|heard| !contradicts(heard, event.at))
    {
        return Assessment {
            state: PresenceState::Away,
            since: Some(event.at),
            reason: Some(event.reason.clone().unwrap_or(reason::NO_REASON.into())),
            connected_since: None,
        };
    }
    // Whatever is known of before a gap may have changed in it.
    let listened = |to: Timestamp| {
        circumstances
            .listening_since
            .is_some_and(|since| since <= to)
    };
    let began = presence.connection.as_ref().filter(|event| event.connected);
    match (presence.current_report(circumstances.now), heard) {
        (Some(report), Some(heard)) => {
            if is_missed(presence, heard, circumstances) {
                return Assessment {
                    state: PresenceState::Away,
                    since: Some(heard),
                    reason: Some(reason::REPORTS_MISSING.into()),
                    connected_since: None,
                };
            }
            let since = began.map(|event| event.at).or(report.connected_at);
            let why = (!listened(heard)).then_some(reason::NOT_HEARD_SINCE_RESTART);
            present(circumstances, since, why)
        }
        (_, heard) => match began {
            Some(event) if listened(event.heard_at) || heard.is_some_and(listened) => {
                present(circumstances, Some(event.at), None)
            }
            Some(_) => unknown(reason::NOT_HEARD_SINCE_RESTART),
            None if heard.is_some() => unknown(reason::REPORTS_NOTHING),
            // It was heard, by a clock that was ahead.
            None if presence.heard_at().is_some() => unknown(reason::NOT_HEARD_SINCE_RESTART),
            // The end of a connection that what was heard since contradicts was heard of.
            None if has_listened_for(REPORTS_MISSED_AFTER, circumstances) => Assessment {
                state: PresenceState::Never,
                since: None,
                reason: None,
                connected_since: None,
            },
            None => unknown(reason::NOT_LISTENED_LONG_ENOUGH),
        },
    }
}

/// Whether what was heard at `heard` contradicts the end of the connection at `ended`, a time that the broker gives.
fn contradicts(heard: Timestamp, ended: Timestamp) -> bool {
    let after = ended.checked_add(CONTRADICTED_AFTER);
    after.is_ok_and(|after| heard > after)
}

/// Whether reports of an agent that was heard last at `heard` are missing, now or when a bridge found so.
fn is_missed(presence: &Presence, heard: Timestamp, circumstances: Circumstances) -> bool {
    let missed = presence
        .missed_at
        .filter(|at| !is_ahead(*at, circumstances.now));
    let found = missed.is_some_and(|missed| missed >= heard);
    let Some(since) = circumstances.listening_since else {
        return found;
    };
    found || circumstances.now.duration_since(heard.max(since)) > REPORTS_MISSED_AFTER
}

fn has_listened_for(span: SignedDuration, circumstances: Circumstances) -> bool {
    circumstances
        .listening_since
        .is_some_and(|since| circumstances.now.duration_since(since) >= span)
}

fn present(
    circumstances: Circumstances,
    since: Option<Timestamp>,
    why: Option<&str>,
) -> Assessment {
    Assessment {
        state: if circumstances.waits {
            PresenceState::Connected
        } else {
            PresenceState::Idle
        },
        since,
        reason: why.map(str::to_owned),
        connected_since: since,
    }
}

fn unknown(why: &str) -> Assessment {
    Assessment {
        state: PresenceState::Unknown,
        since: None,
        reason: Some(why.to_owned()),
        connected_since: None,
    }
}

/// For how long nothing may be heard of an agent that reports: twice the interval.
pub const REPORTS_MISSED_AFTER: SignedDuration =
    SignedDuration::from_secs(2 * REPORT_INTERVAL.as_secs() as i64);

// What was sent before a connection ended may be taken after the event that tells of its end, and the broker's clock is not
// this one. A new connection has an event of its own.
pub(super) const CONTRADICTED_AFTER: SignedDuration = SignedDuration::from_secs(10);

#[cfg(test)]
mod tests;
