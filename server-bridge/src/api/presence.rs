//! What is known of consumers' agents, as callers see it: whether each is there, since when and why not, what it reports of
//! itself.

use jiff::Timestamp;
use link::clock::rfc3339_nanos;
use link::event::agent_report::{AgentReport, AgentTarget, HeldWorks, SpecRefusal};
use serde::Serialize;

use crate::store::{Circumstances, Presence, assess};

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Without what is of some source: for whoever may not see all of them.
    Agent,
    /// With works and the number of refusals.
    Summary,
    /// With each refusal.
    Whole,
}

/// What is shown of an agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_report_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    works: Option<&'a HeldWorks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<&'a [SpecRefusal]>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentView<'a> {
    version: &'a str,
    commit: &'a str,
    extensions: &'a [String],
    target: AgentTarget,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes_version: Option<&'a str>,
    started_at: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateView<'a> {
    not_after: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
}

/// What is shown of an agent. What is not known is left out.
pub(super) fn view(presence: &Presence, circumstances: Circumstances, detail: Detail) -> View<'_> {
    let judged = assess(presence, circumstances);
    let shown = |at: Option<Timestamp>| at.map(rfc3339_nanos);
    let report = presence.current_report(circumstances.now);
    // Of all sources alike.
    let of_bundles = report.filter(|_| detail != Detail::Agent);
    View {
        state: judged.state.as_str(),
        since: shown(judged.since),
        reason: judged.reason,
        connected_since: shown(judged.connected_since),
        last_seen_at: shown(presence.heard_by(circumstances.now)),
        last_report_at: shown(presence.report_at),
        agent: report.map(agent),
        certificate: report.and_then(certificate),
        works: of_bundles.map(|report| &report.works),
        refusal_count: of_bundles.map(|_| presence.refusals),
        refusals: of_bundles
            .filter(|_| detail == Detail::Whole)
            .map(|report| report.refusals.as_slice()),
    }
}

fn agent(report: &AgentReport) -> AgentView<'_> {
    AgentView {
        version: &report.version,
        commit: &report.commit,
        extensions: &report.extensions,
        target: report.target,
        kubernetes_version: report.kubernetes_version.as_deref(),
        started_at: rfc3339_nanos(report.started_at),
    }
}

fn certificate(report: &AgentReport) -> Option<CertificateView<'_>> {
    let certificate = report.certificate.as_ref()?;
    Some(CertificateView {
        not_after: rfc3339_nanos(certificate.not_after),
        subject: certificate.subject.as_deref(),
        serial: certificate.serial.as_deref(),
    })
}
