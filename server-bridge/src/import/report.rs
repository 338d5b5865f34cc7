//! What an import found and did, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

/// What an import found, and what it did or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Where Maestro's database is.
    pub from: String,
    /// Where the store is.
    pub to: String,
    /// When the state is of that was read, by the clock of Maestro's database.
    pub read_at: Timestamp,
    /// Maestro's newest migration.
    pub migration: String,
    /// MQTT client ids of Maestro's replicas, as far as it knows them.
    pub client_ids: Vec<String>,
    /// Sessions that others have open on Maestro's database.
    pub sessions: i64,
    /// The last change of a bundle.
    pub last_change: Option<Timestamp>,
    /// For whom the bridge is to speak.
    pub source_id: String,
    /// How many statuses answer this source; nothing shows that it is Maestro's when there is none.
    pub answers: u64,
    /// Consumers.
    pub consumers: Consumers,
    /// Bundles.
    pub bundles: Bundles,
    /// Bundles by who published them.
    pub sources: BTreeMap<String, u64>,
    /// Whether this was to show what would be done.
    pub dry_run: bool,
    /// Whether anything was written, or would be: not while something that is left out has to be decided.
    pub written: bool,
    /// What was left out and has to be decided, one by one.
    pub left_out: Vec<Item>,
    /// Bundles that only the store has, and that Maestro never had: they stay.
    pub only_here: Vec<String>,
    /// What was taken over differently from how it was, one by one.
    pub remarks: Vec<Item>,
}

/// How many consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Consumers {
    /// In Maestro's database.
    pub found: u64,
    /// Put in.
    pub added: u64,
    /// There already, and given the labels that Maestro has now.
    pub relabelled: u64,
    /// There already.
    pub present: u64,
}

/// How many bundles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bundles {
    /// In Maestro's database.
    pub found: u64,
    /// Put in.
    pub added: u64,
    /// Put in the place of an older version, or of the same one whose agent has reported something newer since.
    pub replaced: u64,
    /// There already.
    pub present: u64,
    /// Of those put in: their agents reported on this version, and get nothing again.
    pub confirmed: u64,
    /// Of those put in: will be sent, because no status shows that their agents have this version.
    pub unsent: u64,
    /// Of those put in: are being deleted; will be sent.
    pub deleting: u64,
    /// Of those put in: no status at all.
    pub without_status: u64,
}

/// A row, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `consumer` or `bundle`.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// What.
    pub reason: String,
}

// === impl ImportReport ===

impl ImportReport {
    /// For people.
    pub fn text(&self) -> String {
        let Self {
            consumers, bundles, ..
        } = self;
        let would = if self.dry_run { "would be " } else { "" };
        let last = self
            .last_change
            .map_or("never".to_owned(), |at| at.to_string());
        let mut lines = vec![
            ("from", format!("{}, as of {}", self.from, self.read_at)),
            ("to", self.to.clone()),
            (
                "maestro",
                format!(
                    "migration {}, last change of a bundle {last}, {} other sessions",
                    self.migration, self.sessions
                ),
            ),
            ("source id", self.speaks()),
            ("client ids", self.client_ids.join(", ")),
            (
                "consumers",
                format!(
                    "{} found, {} {would}added, {} {would}relabelled, {} there already",
                    consumers.found, consumers.added, consumers.relabelled, consumers.present
                ),
            ),
            (
                "bundles",
                format!(
                    "{} found, {} {would}added, {} {would}replaced, {} there already",
                    bundles.found, bundles.added, bundles.replaced, bundles.present
                ),
            ),
            (
                "of these",
                format!(
                    "{} confirmed by their agents, {} to be sent, {} being deleted; {} without a status",
                    bundles.confirmed, bundles.unsent, bundles.deleting, bundles.without_status
                ),
            ),
            ("published by", self.publishers()),
        ];
        if !self.only_here.is_empty() {
            let here = self.only_here.iter().take(SHOWN);
            let here: Vec<String> = here.map(|id| format!("`{id}`")).collect();
            let more = self.only_here.len() - here.len();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            lines.push((
                "only in the store",
                format!("{}{more}, which stay", here.join(", ")),
            ));
        }
        let mut text = String::new();
        for (name, value) in lines {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{name:<18} {value}");
        }
        for (title, items) in [("remark", &self.remarks), ("left out", &self.left_out)] {
            for item in items {
                let _ = writeln!(
                    text,
                    "{title:<18} {} `{}`: {}",
                    item.kind, item.id, item.reason
                );
            }
        }
        text.push_str(self.outcome());
        text
    }

    fn speaks(&self) -> String {
        match self.answers {
            0 => format!(
                "{}; no status shows whether that is Maestro's `--source-id`: compare it",
                self.source_id
            ),
            count => format!("{}, as {count} statuses show", self.source_id),
        }
    }

    fn publishers(&self) -> String {
        let mut named: Vec<String> = self
            .sources
            .iter()
            .take(SHOWN)
            .map(|(source, count)| format!("`{source}` ({count})"))
            .collect();
        if self.sources.len() > SHOWN {
            named.push(format!("and {} more", self.sources.len() - SHOWN));
        }
        named.join(", ")
    }

    fn outcome(&self) -> &'static str {
        match (self.dry_run, self.written) {
            (true, true) => "nothing was written: a dry run",
            (true, false) => {
                "nothing was written, and nothing would be: what is left out has to be decided"
            }
            (false, true) => "done",
            (false, false) => "nothing was written: what is left out has to be decided",
        }
    }
}

// JSON has them all.
const SHOWN: usize = 10;
