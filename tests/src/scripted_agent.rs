//! An agent that says what a test wants, of its works and of itself. It talks through a [`crate::region::Region::peer`], which
//! the broker lets do everything.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use link::event::agent_report::{AgentReport, AgentTarget, HeldWorks};
use link::event::encode;
use link::id::ConsumerName;
use link::order::SequenceId;
use serde_json::{Value, json};

use crate::peer_events::{agent_topic, now, publish, status};
use crate::region::SOURCE;
use crate::session::Client;

/// The agent of one consumer.
pub struct ScriptedAgent {
    peer: Client,
    consumer: ConsumerName,
    at: Timestamp,
}

// === impl ScriptedAgent ===

impl ScriptedAgent {
    /// Speaks for `consumer`.
    ///
    /// # Errors
    /// When that is no consumer's name.
    pub fn new(peer: Client, consumer: &str) -> Result<Self> {
        Ok(Self {
            peer,
            consumer: ConsumerName::new(consumer)?,
            at: now(),
        })
    }

    /// Reports the conditions of a work and of its manifests; each report is newer than the one before.
    ///
    /// # Errors
    /// When the broker does not take it, or nobody listens.
    pub async fn reports(
        &mut self,
        id: &str,
        version: i64,
        conditions: &[Value],
        manifests: &[Value],
    ) -> Result<()> {
        self.at = now().max(self.at + SignedDuration::from_millis(1));
        let sequence = SequenceId::from_parts(self.at, 1, 0);
        let data = json!({"conditions": conditions, "resourceStatus": manifests});
        let consumer = self.consumer.as_str();
        let event = status(consumer, id, version, sequence, "Applied").with_data(data.to_string());
        publish(&self.peer, encode(&event, agent_topic(consumer))).await
    }

    /// Reports what it is.
    ///
    /// # Errors
    /// When the broker does not take it, or nobody listens.
    pub async fn is(&self, report: AgentReport) -> Result<()> {
        let own = format!("{}-work-agent", self.consumer);
        let event = report.event(&own, &self.consumer, SOURCE, now());
        let topic = agent_topic(self.consumer.as_str());
        publish(&self.peer, encode(&event, topic)).await
    }
}

/// What an agent of this version says of itself that has just started, applies to a directory, and holds and refuses nothing.
pub fn self_report(version: &str) -> AgentReport {
    let at = now();
    AgentReport {
        version: version.into(),
        commit: "unknown".into(),
        extensions: vec!["agentreports".into()],
        started_at: at,
        connected_at: Some(at),
        certificate: None,
        target: AgentTarget::Directory,
        kubernetes_version: None,
        works: HeldWorks::of([]),
        refusals: Vec::new(),
        truncated: false,
    }
}

/// A condition of a work or of a manifest.
pub fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Scripted", "message": message,
        "lastTransitionTime": "2026-08-01T10:00:00Z"})
}

/// A manifest of the namespace `shop` with its conditions.
pub fn manifest(kind: &str, name: &str, conditions: &[Value]) -> Value {
    json!({"conditions": conditions, "statusFeedback": {}, "resourceMeta": {"ordinal": 0, "group": "",
        "version": "v1", "kind": kind, "resource": "", "name": name, "namespace": "shop"}})
}
