//! What the parties may do, before anybody connects: `policy check` and `policy explain`. Pure.
//!
//! The documents are those the file asks for ([`Documents::desired`]) or those that are there ([`Documents::live`]); what *should*
//! be allowed is said here once more, from the topics alone, so that a mistake in how policies are made shows too. The
//! deciding is [`link::iot::evaluate()`]'s.

use std::collections::BTreeMap;
use std::fmt;

use link::error::Hint;
use link::iot::{
    Context, Decision, Document, PolicyAction, Request, Resource, Statement, evaluate,
};
use region_file::Region;
use serde::{Serialize, Serializer};

pub mod live;
mod probe;

/// A party by name: the server, or the agent of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartyName {
    /// `server`.
    Server,
    /// By the id of its management cluster.
    Agent(String),
}

/// The policies attached to each party's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents(BTreeMap<PartyName, Vec<Document>>);

/// Everything each party may and may not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyMatrix {
    /// The server's rows, then each agent's.
    pub rows: Vec<PolicyRow>,
}

/// One thing a party may or may not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRow {
    /// Who.
    pub party: PartyName,
    /// Such as `iot:Publish`.
    pub action: String,
    /// On what, such as `topic/maestro/consumers/mc/agentevents`.
    pub resource: String,
    /// What the policies say.
    pub allowed: bool,
    /// The construct that keeps the decision from being known; it is refused, and never as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// What they should say.
    pub expected: bool,
    /// Which statement decided, or what is missing; only where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Why one thing is allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Who.
    pub party: PartyName,
    /// Such as `iot:Publish`.
    pub action: String,
    /// On what.
    pub resource: String,
    /// What the policies say.
    pub allowed: bool,
    /// The construct that keeps the decision from being known; it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// The statement that decided, such as `statement 2 of policy `x``; none when nothing allows it.
    pub decided_by: Option<String>,
    /// Statements that look as if they were meant for this, and why they do not apply.
    pub near_misses: Vec<String>,
    /// The smallest statement that would allow it.
    pub add: Option<Statement>,
    /// All of this as one sentence.
    pub text: String,
}

/// Why a question could not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No such party in the region.
    #[error("region has no party `{name}`")]
    NoParty {
        /// What was asked for.
        name: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// No such action.
    #[error("`{0}` is no action of MQTT")]
    NoAction(String),
}

// === impl PartyName ===

impl PartyName {
    /// Reads `server` or the id of one of the region's clusters.
    ///
    /// # Errors
    /// [`PolicyError::NoParty`].
    pub fn parse(region: &Region, name: &str) -> Result<Self, PolicyError> {
        let parties = Self::all(region);
        let found = parties.iter().find(|party| party.to_string() == name);
        found.cloned().ok_or_else(|| PolicyError::NoParty {
            name: name.to_owned(),
            known: parties.iter().map(Self::to_string).collect(),
        })
    }

    /// The server and each agent.
    pub fn all(region: &Region) -> Vec<Self> {
        let agents = region
            .clusters
            .iter()
            .map(|cluster| Self::Agent(cluster.id.to_string()));
        [Self::Server].into_iter().chain(agents).collect()
    }

    /// Name of the policy it should carry.
    pub fn policy(&self, region: &Region) -> Option<String> {
        match self {
            Self::Server => Some(region.names.server_policy.clone()),
            Self::Agent(id) => Some(region.cluster(id)?.names.policy.clone()),
        }
    }

    // The client id it connects under first.
    fn client_id(&self, region: &Region) -> String {
        let party = match self {
            Self::Server => Some(&region.server.party),
            Self::Agent(id) => region.cluster(id).map(|cluster| &cluster.party),
        };
        let ids = party
            .map(link::party::Party::client_ids)
            .unwrap_or_default();
        ids.into_iter().next().map(String::from).unwrap_or_default()
    }
}

impl fmt::Display for PartyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Server => "server",
            Self::Agent(id) => id,
        })
    }
}

impl Serialize for PartyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Documents ===

impl Documents {
    /// The policies as they should be.
    pub fn desired(region: &Region) -> Self {
        let arn = region.arn_prefix();
        let server = region
            .server
            .party
            .policy(&arn)
            .named(&region.names.server_policy);
        let agents = region.clusters.iter().map(|cluster| {
            let policy = cluster.party.policy(&arn).named(&cluster.names.policy);
            (PartyName::Agent(cluster.id.to_string()), vec![policy])
        });
        Self(agents.chain([(PartyName::Server, vec![server])]).collect())
    }

    /// The policies as they are: those attached to the certificate of each party, by its name. A party without an
    /// entry has none attached and may do nothing.
    pub fn live(attached: BTreeMap<PartyName, Vec<Document>>) -> Self {
        Self(attached)
    }

    fn of(&self, party: &PartyName) -> &[Document] {
        self.0.get(party).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Asks for everything that each party should and should not be able to do: its own topics and client ids, those of
/// every other party, and filters that would hear everybody.
pub fn check(region: &Region, documents: &Documents) -> PolicyMatrix {
    let mut rows = Vec::new();
    for party in PartyName::all(region) {
        let client_id = party.client_id(region);
        for probe in probe::all(region, &party) {
            let decision = decide(
                region,
                documents,
                &party,
                &client_id,
                probe.action,
                &probe.subject,
            );
            let allowed = decision.is_allowed();
            let unknown = unknown(&decision);
            rows.push(PolicyRow {
                party: party.clone(),
                action: probe.action.to_string(),
                resource: Resource::of(probe.action, &probe.subject).to_string(),
                allowed,
                expected: probe.expected,
                why: (unknown.is_some() || allowed != probe.expected).then(|| decision.explain()),
                unknown,
            });
        }
    }
    PolicyMatrix { rows }
}

/// Why `party` may, or may not, do `action` on `subject`: a client id for Connect, a filter for Subscribe, a topic
/// otherwise.
pub fn explain(
    region: &Region,
    documents: &Documents,
    party: &PartyName,
    action: PolicyAction,
    subject: &str,
) -> Explanation {
    let client_id = party.client_id(region);
    let decision = decide(region, documents, party, &client_id, action, subject);
    let text = decision.explain();
    let (allowed, unknown) = (decision.is_allowed(), unknown(&decision));
    let (decided_by, add, near_misses) = match decision {
        Decision::Allow { by, .. } => (Some(by), None, Vec::new()),
        Decision::Deny {
            by,
            addition,
            near_misses,
            ..
        } => (by, addition, near_misses),
        Decision::Unknown { by, .. } => (by, None, Vec::new()),
    };
    Explanation {
        party: party.clone(),
        action: action.to_string(),
        resource: Resource::of(action, subject).to_string(),
        allowed,
        unknown,
        decided_by: decided_by.map(|by| by.to_string()),
        near_misses: near_misses.iter().map(ToString::to_string).collect(),
        add,
        text,
    }
}

/// Reads an action: `publish`, `iot:Publish`, `retain-publish` and so on.
///
/// # Errors
/// [`PolicyError::NoAction`].
pub fn action(text: &str) -> Result<PolicyAction, PolicyError> {
    let fold = |text: &str| text.replace('-', "").to_ascii_lowercase();
    let asked = fold(text);
    PolicyAction::ALL
        .into_iter()
        .find(|action| {
            let name = fold(action.name());
            name == asked || name.strip_prefix("iot:") == Some(&asked)
        })
        .ok_or_else(|| PolicyError::NoAction(text.to_owned()))
}

fn decide(
    region: &Region,
    documents: &Documents,
    party: &PartyName,
    client_id: &str,
    action: PolicyAction,
    subject: &str,
) -> Decision {
    // Whoever asks to connect does so under the id it asks for; all else is done under its own.
    let client_id = if action == PolicyAction::Connect {
        subject
    } else {
        client_id
    };
    let context = Context::new(region.arn_prefix(), client_id);
    let request = Request {
        action,
        resource: Resource::of(action, subject),
        context: &context,
    };
    evaluate(documents.of(party), &request)
}

fn unknown(decision: &Decision) -> Option<String> {
    match decision {
        Decision::Unknown { construct, .. } => Some(construct.to_string()),
        Decision::Allow { .. } | Decision::Deny { .. } => None,
    }
}

// === impl PolicyMatrix ===

impl PolicyMatrix {
    /// Whether everything is as it should be.
    pub fn is_as_it_should_be(&self) -> bool {
        self.wrong().next().is_none()
    }

    /// What is not.
    pub fn wrong(&self) -> impl Iterator<Item = &PolicyRow> {
        self.rows.iter().filter(|row| !row.is_as_it_should_be())
    }
}

// === impl PolicyRow ===

impl PolicyRow {
    // What is unknown is refused by those who judge as we do, but a broker may allow it.
    fn is_as_it_should_be(&self) -> bool {
        self.unknown.is_none() && self.allowed == self.expected
    }
}

impl fmt::Display for PolicyMatrix {
    /// A table, then what is wrong and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = |of: fn(&PolicyRow) -> usize| self.rows.iter().map(of).max().unwrap_or(0);
        let party = longest(|row| row.party.to_string().len());
        let action = longest(|row| row.action.len());
        let width = longest(|row| if row.unknown.is_some() { 7 } else { 5 });
        for row in &self.rows {
            let (verdict, decision) = match (&row.unknown, row.allowed, row.expected) {
                (Some(_), ..) => ("???? ", "unknown"),
                (None, true, true) => ("ok   ", "allow"),
                (None, false, false) => ("ok   ", "deny"),
                (None, true, false) => ("OPEN ", "allow"),
                (None, false, true) => ("SHUT ", "deny"),
            };
            let PolicyRow {
                party: who,
                action: what,
                resource,
                ..
            } = row;
            writeln!(
                f,
                "{verdict} {decision:width$}  {who:party$}  {what:action$}  {resource}"
            )?;
        }
        let mut wrong = 0;
        for row in self.wrong() {
            let should = if row.expected {
                "be allowed"
            } else {
                "be denied"
            };
            let why = row.why.as_deref().unwrap_or_default();
            writeln!(f, "{} should {should}: {why}", row.party)?;
            wrong += 1;
        }
        write!(
            f,
            "{} checked, {wrong} not as they should be",
            self.rows.len()
        )
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.party, self.text)
    }
}

// === impl PolicyError ===

impl Hint for PolicyError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoParty { known, .. } => format!("name one of `{}`", known.join("`, `")),
            Self::NoAction(_) => {
                "write `connect`, `publish`, `subscribe`, `receive` or `retain-publish`".into()
            }
        })
    }
}

#[cfg(test)]
mod tests;
