//! What is kept of agents' presence, as both engines write and read it. Statements differ in how rows are locked and lists
//! bound.

use link::event::agent_report::{AgentReport, SpecRefusal};

use super::rows::{Cells, consumer_name, corrupt, micros, moment, optional_time};
use crate::store::StoreError;
use crate::store::presence::{ConnectionEvent, Presence, ReportedPresence};

/// What [`put_report`] binds, in its order, behind the consumer.
pub(in crate::store) struct ReportCells {
    pub(in crate::store) report: String,
    pub(in crate::store) refusals: String,
    pub(in crate::store) refusal_count: i64,
    pub(in crate::store) made_at: i64,
    pub(in crate::store) at: i64,
    /// What was taken at this time or before gives way to anything.
    pub(in crate::store) settled: i64,
}

/// The cells of a report.
pub(in crate::store) fn cells(reported: &ReportedPresence) -> ReportCells {
    let mut report = reported.report.clone();
    let refusals = std::mem::take(&mut report.refusals);
    ReportCells {
        // Plain data with text keys always has a JSON form.
        report: serde_json::to_string(&report).unwrap_or_default(),
        refusals: serde_json::to_string(&refusals).unwrap_or_default(),
        refusal_count: i64::try_from(refusals.len()).unwrap_or(i64::MAX),
        made_at: micros(reported.counted_at()),
        at: micros(reported.at),
        settled: micros(reported.at - crate::store::presence::LATE),
    }
}

/// What is known of a consumer's agent. Refusals are read if the row has them.
pub(in crate::store) fn presence(
    row: &impl Cells,
    with_refusals: bool,
) -> Result<Presence, StoreError> {
    let consumer = consumer_name(row, "consumer_name", "consumers")?;
    let key = consumer.as_str().to_owned();
    let mut report: Option<AgentReport> = row
        .optional_text("report")?
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| corrupt("presence.report", &key, error))?;
    if with_refusals
        && let Some(report) = &mut report
        && let Some(text) = row.optional_text("refusals")?
    {
        let refusals: Vec<SpecRefusal> = serde_json::from_str(&text)
            .map_err(|error| corrupt("presence.refusals", &key, error))?;
        report.refusals = refusals;
    }
    let count = row.optional_integer("refusal_count")?.unwrap_or_default();
    Ok(Presence {
        last_seen_at: optional_time(row, "last_seen_at", &key)?,
        report,
        refusals: count.unsigned_abs(),
        report_at: optional_time(row, "report_at", &key)?,
        missed_at: optional_time(row, "missed_at", &key)?,
        connection: connection(row, &key)?,
        consumer,
    })
}

fn connection(row: &impl Cells, key: &str) -> Result<Option<ConnectionEvent>, StoreError> {
    let Some(client_id) = row.optional_text("client_id")? else {
        return Ok(None);
    };
    let time = |column| {
        let micros = row.optional_integer(column)?;
        moment(micros, key)?.ok_or_else(|| corrupt("presence.event_at", key, "it is missing"))
    };
    Ok(Some(ConnectionEvent {
        client_id,
        connected: row.flag("connected")?,
        version: row.optional_integer("event_version")?.unwrap_or_default(),
        at: time("event_at")?,
        reason: row.optional_text("disconnect_reason")?,
        heard_at: time("event_heard_at")?,
    }))
}

/// Takes a report; `$7` is [`crate::store::presence::LATE`] before it came, and what came as long after it did so by a clock
/// that was ahead. `$lock` keeps the consumer until the end of the transaction.
macro_rules! put_report {
    ($lock:literal) => {
        concat!(
            "INSERT INTO presence (consumer_name, report, refusals, refusal_count, report_made_at, report_at) \
             SELECT c.name, $2, $3, $4, $5, $6 FROM consumers c WHERE c.name = $1 ",
            $lock,
            " ON CONFLICT (consumer_name) DO UPDATE SET report = excluded.report, refusals = excluded.refusals, \
               refusal_count = excluded.refusal_count, report_made_at = excluded.report_made_at, \
               report_at = excluded.report_at, missed_at = NULL \
             WHERE presence.report_at IS NULL OR presence.report_made_at <= excluded.report_made_at \
               OR presence.report_at <= $7 OR presence.report_at > excluded.report_at + (excluded.report_at - $7)"
        )
    };
}
pub(in crate::store) use put_report;

/// Takes a lifecycle event; the last parameter is [`crate::store::presence::RENUMBERED`] in microseconds.
macro_rules! put_connection {
    ($lock:literal) => {
        concat!(
            "INSERT INTO presence (consumer_name, client_id, connected, event_version, event_at, event_heard_at, \
               disconnect_reason) \
             SELECT c.name, $2, $3, $4, $5, $6, $7 FROM consumers c WHERE c.name = $1 ",
            $lock,
            " ON CONFLICT (consumer_name) DO UPDATE SET client_id = excluded.client_id, connected = excluded.connected, \
               event_version = excluded.event_version, event_at = excluded.event_at, \
               event_heard_at = excluded.event_heard_at, disconnect_reason = excluded.disconnect_reason \
             WHERE presence.event_at IS NULL OR CASE \
               WHEN presence.client_id <> excluded.client_id OR ABS(excluded.event_at - presence.event_at) >= $8 \
                 THEN excluded.event_at > presence.event_at \
               WHEN excluded.event_version <> presence.event_version \
                 THEN excluded.event_version > presence.event_version \
               ELSE presence.connected AND NOT excluded.connected END"
        )
    };
}
pub(in crate::store) use put_connection;

/// Reads what is known; `$rest` says of whom.
macro_rules! select_presence {
    ($refusals:literal, $rest:literal) => {
        concat!(
            "SELECT c.name AS consumer_name, c.last_seen_at, p.report, ",
            $refusals,
            "p.refusal_count, p.report_at, p.missed_at, p.client_id, COALESCE(p.connected, FALSE) AS connected, \
             p.event_version, p.event_at, p.event_heard_at, p.disconnect_reason \
             FROM consumers c LEFT JOIN presence p ON p.consumer_name = c.name WHERE ",
            $rest
        )
    };
}
pub(in crate::store) use select_presence;

/// Notes that somebody listens at `$1`. Between `$2` and `$3` the last note must be for it to go on from there.
pub(in crate::store) const NOTE_LISTENING: &str = "INSERT INTO listening (id, since, heard_until) VALUES (1, $1, $1) \
     ON CONFLICT (id) DO UPDATE SET heard_until = excluded.heard_until, \
       since = CASE WHEN listening.heard_until BETWEEN $2 AND $3 THEN listening.since ELSE excluded.since END";

/// Notes at `$1` whose reports have been missing since `$2` while somebody listened.
macro_rules! note_missed {
    ($lock:literal) => {
        concat!(
            "UPDATE presence SET missed_at = $1 WHERE consumer_name IN (SELECT p.consumer_name FROM presence p \
             JOIN consumers c ON c.name = p.consumer_name WHERE p.report_at < $2 AND COALESCE(c.last_seen_at, 0) < $2 \
               AND (p.missed_at IS NULL OR p.missed_at < c.last_seen_at) \
               AND (SELECT since FROM listening) < $2 ORDER BY p.consumer_name ",
            $lock,
            ")"
        )
    };
}
pub(in crate::store) use note_missed;

/// When somebody listened last.
pub(in crate::store) const LISTENED_UNTIL: &str = "SELECT heard_until FROM listening";

/// Since when somebody has listened, if it was noted at `$1` or later.
pub(in crate::store) const LISTENING_SINCE: &str =
    "SELECT since FROM listening WHERE heard_until >= $1";
