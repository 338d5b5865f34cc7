//! What an agent reports of itself, as an extension of ours: which version it is, its certificate, what it holds, and which
//! spec events it refused.
//!
//! It is an event on the agent's own topic with a data type of its own, for which no Go peer has a codec, so that a Go server
//! ignores it (docs/MAESTRO.md §1.3). It is sent only to a bridge that asked for it ([`AGENT_REPORTS`]).
//!
//! **Invariant:** whatever it is made of, a report fits one message, and what is read of one is within the same bounds: a
//! text is cut, the oldest refusals are left out, and `truncated` says so; times are of the years 1970 to 9998. No text of
//! it holds a control character, which some databases and terminals do not take.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Action, Event, Kind, SubResource};
use crate::id::ConsumerName;
use crate::iot::limits::PAYLOAD_BYTES;
use crate::order::Version;

/// Extension attribute of ours on status resync requests: the bridge that sends it takes reports of this version. Go agents
/// ignore it.
pub const AGENT_REPORTS: &str = "agentreports";
/// The value of [`AGENT_REPORTS`]: the version of the report.
pub const AGENT_REPORTS_VERSION: &str = "1";
/// The data type of the event. Its type is this and `.status.update_request`.
pub const AGENT_REPORTS_TYPE: &str = "io.open-cluster-management.agents.v1.reports";

/// How often an agent reports when nothing changes. Who has heard nothing for twice as long has missed something.
pub const REPORT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(300);
/// Refusals in one report; older ones are left out.
pub const MOST_REFUSALS: usize = 100;

/// What an agent says of itself to one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// Its release.
    #[serde(default)]
    pub version: String,
    /// The commit of its build, or `unknown`.
    #[serde(default)]
    pub commit: String,
    /// The extensions of the protocol that it knows, by the names of their attributes or data types.
    #[serde(default)]
    pub extensions: Vec<String>,
    /// When the process began to work, by its clock.
    pub started_at: Timestamp,
    /// Since when it is connected and subscribed, by its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<Timestamp>,
    /// The certificate that it connects with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<AgentCertificate>,
    /// What it applies to.
    pub target: AgentTarget,
    /// The version of the API server that it applies to, such as `v1.33.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// What it holds of the source that it reports to.
    pub works: HeldWorks,
    /// The spec events of that source that it refused, newest first.
    #[serde(default)]
    pub refusals: Vec<SpecRefusal>,
    /// Whether refusals were left out or a text was cut.
    #[serde(default)]
    pub truncated: bool,
}

/// The certificate that an agent connects with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentCertificate {
    /// Last second of validity.
    pub not_after: Timestamp,
    /// Serial number in lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Subject as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// What an agent applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentTarget {
    /// A cluster.
    Kubernetes,
    /// A directory of files.
    Directory,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What an agent holds of one source, as a number and a digest that both ends can compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldWorks {
    /// How many.
    pub count: u64,
    /// Lower-case hex SHA-256 over the lines `ID\tVERSION\n`, in the order of the ids' bytes.
    pub digest: String,
}

/// A spec event that an agent refused: acknowledged to the broker, without any effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecRefusal {
    /// The bundle's id.
    pub resource_id: String,
    /// The version that was refused; missing where the event gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<Version>,
    /// When it was refused last, by the agent's clock.
    pub at: Timestamp,
    /// A word from a closed set (docs/PROTOCOL.md, versions and sequence ids).
    pub reason: String,
    /// The reason as a sentence.
    pub message: String,
}

/// The event is no report that can be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAgentReport {
    /// It is longer than any message of the link.
    #[error("the report has {0} bytes, and {PAYLOAD_BYTES} is the most")]
    TooLong(usize),
    /// It is no JSON of a report.
    #[error("the report's data cannot be read")]
    Json(#[source] serde_json::Error),
}

/// The type of the event.
pub fn kind() -> Kind {
    Kind {
        data_type: AGENT_REPORTS_TYPE.into(),
        sub_resource: SubResource::Status,
        action: Action::Update,
    }
}

/// Whether an event is a report, readable or not.
pub fn is_report(event: &Event) -> bool {
    event.kind.data_type == AGENT_REPORTS_TYPE
}

/// Whether the sender of a status resync request takes reports.
pub fn is_wanted(event: &Event) -> bool {
    let wanted = event.extensions.get(AGENT_REPORTS).map(String::as_str);
    wanted == Some(AGENT_REPORTS_VERSION)
}

// === impl AgentReport ===

impl AgentReport {
    /// The event that carries it from `agent` to `source`. What is too much of it is left out of the event.
    pub fn event(
        self,
        agent: &str,
        consumer: &ConsumerName,
        source: &str,
        now: Timestamp,
    ) -> Event {
        let data = self.bounded().into_data();
        Event {
            original_source: Some(source.into()),
            ..Event::new(agent, kind(), consumer, now).with_data(data)
        }
    }

    /// Reads an event that [`is_report`]. Unknown members are ignored, and what is over a bound is left out.
    ///
    /// # Errors
    /// [`InvalidAgentReport`] when the data is no report.
    pub fn read(event: &Event) -> Result<Self, InvalidAgentReport> {
        let data = event.data_bytes();
        if data.len() > PAYLOAD_BYTES {
            return Err(InvalidAgentReport::TooLong(data.len()));
        }
        let report: Self = serde_json::from_slice(data).map_err(InvalidAgentReport::Json)?;
        Ok(report.bounded())
    }

    /// With every text and list within its bound, and small enough for one message.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let mut cut = false;
        dated(&mut self.started_at);
        self.connected_at.as_mut().into_iter().for_each(dated);
        let texts = [&mut self.version, &mut self.commit];
        for text in texts.into_iter().chain(&mut self.kubernetes_version) {
            cut |= bound(text, NAME_BYTES);
        }
        if let Some(certificate) = &mut self.certificate {
            dated(&mut certificate.not_after);
            cut |= certificate
                .serial
                .as_mut()
                .is_some_and(|text| bound(text, NAME_BYTES));
            cut |= certificate
                .subject
                .as_mut()
                .is_some_and(|text| bound(text, TEXT_BYTES));
        }
        cut |= bound(&mut self.works.digest, NAME_BYTES);
        cut |= self.extensions.len() > MOST_EXTENSIONS || self.refusals.len() > MOST_REFUSALS;
        self.extensions.truncate(MOST_EXTENSIONS);
        for extension in &mut self.extensions {
            cut |= bound(extension, NAME_BYTES);
        }
        self.refusals.truncate(MOST_REFUSALS);
        for refusal in &mut self.refusals {
            dated(&mut refusal.at);
            cut |= bound(&mut refusal.resource_id, ID_BYTES);
            cut |= bound(&mut refusal.reason, NAME_BYTES);
            cut |= bound(&mut refusal.message, TEXT_BYTES);
        }
        // What a quotation mark or a backslash adds counts as well.
        let mut left = REFUSALS_BYTES;
        let fits = |refusal: &SpecRefusal| {
            let bytes = serde_json::to_vec(refusal).map_or(REFUSALS_BYTES, |json| json.len() + 1);
            let rest = usize::checked_sub(left, bytes);
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        let kept = self
            .refusals
            .iter()
            .map(fits)
            .take_while(|fits| *fits)
            .count();
        cut |= kept < self.refusals.len();
        self.refusals.truncate(kept);
        self.truncated |= cut;
        self
    }

    fn into_data(self) -> Bytes {
        // Plain data with text keys can always be written.
        serde_json::to_vec(&self).unwrap_or_default().into()
    }
}

// === impl HeldWorks ===

impl HeldWorks {
    /// Of these works, in any order.
    pub fn of<'a>(works: impl IntoIterator<Item = (&'a str, Version)>) -> Self {
        let mut works: Vec<_> = works.into_iter().collect();
        works.sort_unstable();
        let mut digest = Sha256::new();
        for (id, version) in &works {
            digest.update(format!("{id}\t{version}\n"));
        }
        let digest = digest.finalize();
        Self {
            count: works.len() as u64,
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// Brings a time within the years that RFC 3339 can write, with room for what is reckoned from it.
fn dated(time: &mut Timestamp) {
    let last = Timestamp::from_second(LAST_SECOND).unwrap_or(Timestamp::MAX);
    *time = (*time).clamp(Timestamp::UNIX_EPOCH, last);
}

/// Takes control characters out of a text and cuts it; tells whether it was cut.
fn bound(text: &mut String, most: usize) -> bool {
    if text.contains(char::is_control) {
        *text = text.replace(char::is_control, " ");
    }
    if text.len() <= most {
        return false;
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    true
}

// 9999-01-01T00:00:00Z.
const LAST_SECOND: i64 = 253_370_764_800;
// A version, a commit, a reason, a digest.
const NAME_BYTES: usize = 128;
// A sentence.
const TEXT_BYTES: usize = 512;
// The longest id that an agent takes.
const ID_BYTES: usize = 1024;
// As many as a release may ever name.
const MOST_EXTENSIONS: usize = 64;
// Twice as long in JSON, everything else is at most 2 × (64 × 128 + 5 × 128 + 512) bytes, and some for names and times.
const REFUSALS_BYTES: usize = PAYLOAD_BYTES - 24 * 1024;

#[cfg(test)]
mod tests;
