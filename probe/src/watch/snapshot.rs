//! What is known of a region at one moment, read from the API's answers; pure.
//!
//! Members that an answer does not have are unknown, never an error: an older bridge knows less of its agents.

use std::time::Duration;

use jiff::Timestamp;
use link::cli::is_hidden;
use link::clock::rfc3339_seconds;
use serde_json::{Value, json};

/// A region at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    /// When it was looked at, by the clock here.
    pub(super) at: Timestamp,
    /// The cluster whose bundles are to be shown is not there.
    pub(super) is_missing: bool,
    /// Clusters that fit the filter, shown or not.
    pub(super) clusters: u64,
    /// Bundles of the whole region that wait, by hop.
    pub(super) waiting: Waits,
    /// Bundles (of the cluster that is shown, or of all) that have waited for longer than the threshold.
    pub(super) stuck: u64,
    /// The clusters that are shown.
    pub(super) rows: Vec<ClusterRow>,
    /// The bundles that are shown: those that wait longest.
    pub(super) bundles: Vec<BundleRow>,
}

/// How many bundles wait at which hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waits {
    /// To be taken by the broker.
    pub(super) send: u64,
    /// To be applied.
    pub(super) apply: u64,
    /// For their objects to be available.
    pub(super) available: u64,
    /// To be gone.
    pub(super) deletion: u64,
}

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ClusterRow {
    pub(super) name: String,
    /// `connected`, `idle`, `away`, `never` or `unknown`; none from a bridge that does not tell.
    pub(super) state: Option<String>,
    /// Since when it is in that state.
    pub(super) since: Option<Timestamp>,
    /// Why it went.
    pub(super) reason: Option<String>,
    pub(super) last_seen: Option<Timestamp>,
    pub(super) bundles: Option<u64>,
    pub(super) waits: Waits,
    pub(super) oldest: Option<Timestamp>,
    pub(super) version: Option<String>,
    /// When the agent's certificate ends.
    pub(super) certificate: Option<Timestamp>,
}

/// A bundle that waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BundleRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) version: u64,
    pub(super) hop: String,
    pub(super) since: Option<Timestamp>,
    /// A stable code (docs/faults), once it is explained.
    pub(super) code: Option<String>,
    pub(super) why: String,
    pub(super) next: Option<String>,
}

// === impl Waits ===

impl Waits {
    /// The hops, as searches write them.
    pub(super) const HOPS: [&'static str; 4] = ["send", "apply", "available", "deletion"];

    pub(super) fn of(counts: [u64; 4]) -> Self {
        let [send, apply, available, deletion] = counts;
        Self {
            send,
            apply,
            available,
            deletion,
        }
    }

    fn json(self) -> Value {
        json!({
            "send": self.send, "apply": self.apply, "available": self.available, "deletion": self.deletion,
        })
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// One line for scripts.
    pub(super) fn json(&self) -> Value {
        json!({
            "type": "snapshot",
            "schema": SCHEMA,
            "at": rfc3339_seconds(self.at),
            "clusters": self.clusters,
            "waiting": self.waiting.json(),
            "stuck": self.stuck,
            "shown": self.rows.iter().map(ClusterRow::json).collect::<Vec<_>>(),
            "stuckBundles": self.bundles.iter().map(BundleRow::json).collect::<Vec<_>>(),
        })
    }
}

// === impl ClusterRow ===

impl ClusterRow {
    /// From an item of the list of consumers.
    pub(super) fn of(item: &Value) -> Self {
        let presence = &item["presence"];
        Self {
            name: text(&item["name"]).unwrap_or_default(),
            state: text(&presence["state"]),
            since: time(&presence["since"]),
            reason: text(&presence["reason"]),
            last_seen: time(&item["last_seen_at"]),
            bundles: item["bundles"].as_u64(),
            waits: Waits::of(
                ["to_send", "to_apply", "for_available", "for_deletion"]
                    .map(|hop| number(&item[format!("waiting_{hop}")])),
            ),
            oldest: time(&item["oldest_waiting_since"]),
            version: text(&presence["agent"]["version"]),
            certificate: time(&presence["certificate"]["notAfter"]),
        }
    }

    /// From an item of the overview.
    pub(super) fn of_overview(item: &Value) -> Self {
        Self {
            version: text(&item["agent_version"]),
            certificate: time(&item["certificate_expires_at"]),
            ..Self::of(item)
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "state": self.state,
            "since": self.since.map(rfc3339_seconds),
            "reason": self.reason,
            "lastSeenAt": self.last_seen.map(rfc3339_seconds),
            "bundles": self.bundles,
            "waiting": self.waits.json(),
            "oldestWaitingSince": self.oldest.map(rfc3339_seconds),
            "agentVersion": self.version,
            "certificateNotAfter": self.certificate.map(rfc3339_seconds),
        })
    }
}

// === impl BundleRow ===

impl BundleRow {
    /// From an item of the list of bundles; why is what the hop alone says.
    pub(super) fn of(item: &Value) -> Self {
        let id = text(&item["id"]).unwrap_or_default();
        let hop = text(&item["waiting_for"]).unwrap_or_default();
        Self {
            name: text(&item["name"])
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| id.clone()),
            cluster: text(&item["consumer_name"]).unwrap_or_default(),
            version: number(&item["version"]),
            since: time(&item["waiting_since"]),
            code: None,
            why: of_hop(&hop).to_owned(),
            next: None,
            id,
            hop,
        }
    }

    /// Takes what the API explains.
    pub(super) fn explain(&mut self, story: &Value) {
        let waiting = &story["waiting"];
        if let Some(why) = text(&waiting["why"]) {
            self.why = why;
            self.code = text(&waiting["code"]);
            self.next = text(&waiting["next"]);
        }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "cluster": self.cluster,
            "version": self.version,
            "hop": self.hop,
            "since": self.since.map(rfc3339_seconds),
            "code": self.code,
            "why": self.why,
            "next": self.next,
        })
    }
}

/// How long ago, in two or three characters and a unit.
pub(super) fn age(from: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(from).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The moment before which a bundle began to wait that is stuck.
pub(super) fn stuck_before(now: Timestamp, after: Duration) -> Timestamp {
    now.checked_sub(after).unwrap_or(Timestamp::MIN)
}

fn of_hop(hop: &str) -> &'static str {
    match hop {
        "send" => "the broker has not taken it",
        "apply" => "the agent has not said that it is applied",
        "available" => "applied, but its objects are not available",
        "deletion" => "the agent has not said that it is gone",
        _ => "it waits",
    }
}

/// Text for a terminal: one line, nothing in it that a terminal acts on, of bounded length.
fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    Some(
        text.chars()
            .map(|char| if is_hidden(char) { ' ' } else { char })
            .take(TEXT_CHARS)
            .collect(),
    )
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Changes when a member of [`Snapshot::json`] changes its meaning or goes.
const SCHEMA: &str = "maestro-watch/1";

// More than any screen is wide, several lines of it.
const TEXT_CHARS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_an_older_bridge_leaves_things_unknown() {
        let row = ClusterRow::of(&json!({"name": "c1", "bundles": 3, "waiting_to_send": 2}));
        assert_eq!(
            (row.name.as_str(), row.bundles, row.waits.send),
            ("c1", Some(3), 2)
        );
        assert_eq!((row.state, row.version), (None, None));
    }

    #[test]
    fn a_cluster_of_the_overview_is_the_same_as_one_of_a_list() {
        let rest = json!({
            "name": "c1", "bundles": 3, "waiting_to_apply": 2, "last_seen_at": "2026-11-29T11:59:30Z",
            "oldest_waiting_since": "2026-11-29T09:00:00Z",
        });
        let (mut listed, mut shown) = (rest.clone(), rest);
        let state =
            json!({"state": "away", "since": "2026-11-29T08:00:00Z", "reason": "REPORTS_MISSING"});
        shown["presence"] = state.clone();
        shown["agent_version"] = "0.1.0".into();
        shown["certificate_expires_at"] = "2026-12-01T00:00:00Z".into();
        listed["presence"] = state;
        listed["presence"]["agent"] = json!({"version": "0.1.0"});
        listed["presence"]["certificate"] = json!({"notAfter": "2026-12-01T00:00:00Z"});
        let row = ClusterRow::of_overview(&shown);
        assert_eq!(row, ClusterRow::of(&listed));
        assert!(row.certificate.is_some() && row.version.is_some());
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_kept() {
        let row =
            BundleRow::of(&json!({"id": "a\u{1b}[2Jb\u{202e}c\u{2028}", "waiting_for": "apply"}));
        assert_eq!(row.name, "a [2Jb c ");
        assert_eq!(row.why, "the agent has not said that it is applied");
    }

    #[test]
    fn ages_are_short() {
        let now = Timestamp::UNIX_EPOCH;
        let ago = |seconds: i64| age(Timestamp::from_second(-seconds).unwrap(), now);
        let shown = [0, 59, 60, 3599, 3600, 86_399, 86_400 * 400].map(ago);
        assert_eq!(shown, ["0s", "59s", "1m", "59m", "1h", "23h", "400d"]);
        assert_eq!(age(Timestamp::from_second(5).unwrap(), now), "0s");
    }
}
