//! What agents say of themselves in tests.

use jiff::Timestamp;
use link::event::agent_report::{AgentReport, AgentTarget, HeldWorks};

/// An agent of this version that has been connected since it started, applies to a directory, and holds and refuses nothing.
pub(crate) fn report(version: &str, started_at: Timestamp) -> AgentReport {
    AgentReport {
        version: version.into(),
        commit: String::new(),
        extensions: Vec::new(),
        started_at,
        connected_at: Some(started_at),
        certificate: None,
        target: AgentTarget::Directory,
        kubernetes_version: None,
        works: HeldWorks::of([]),
        refusals: Vec::new(),
        truncated: false,
    }
}
