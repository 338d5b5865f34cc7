//! The feed of reports for gRPC sources: heads of what was reported, without gaps whichever replica took a status, and the
//! present report of one bundle.
//!
//! A reader takes a [`ReportPosition`] and asks for what came after it. A status that is replaced before it was read is
//! reported once. After a restore or a move of the database older positions mean nothing:
//! [`ReportStore::reports_after`] fails with [`StoreError::PositionLost`], and a reader starts again with
//! [`ReportStore::reports_end`] and shows what [`ReportStore::reports_since`] returns for the time in between.

use std::future::Future;

use jiff::{SignedDuration, Timestamp};
use link::clock::rfc3339_seconds;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use serde_json::json;

use super::json::Json;
use super::{Content, SourceName, StoreError};

/// Statuses as they were taken. A part of [`super::Store`].
pub trait ReportStore: Clone + Send + Sync + 'static {
    /// Where reports stand now; what is taken afterwards comes behind it.
    fn reports_end(&self) -> impl Future<Output = Result<ReportPosition, StoreError>> + Send;

    /// Heads of what was reported behind `after`, at most `limit`, on whichever replica; some may come twice, none is left
    /// out. Of a bundle that is there again the head of its earlier life may come too. Refused with `PositionLost`.
    fn reports_after(
        &self,
        after: ReportPosition,
        limit: u32,
    ) -> impl Future<Output = Result<ReportHeads, StoreError>> + Send;

    /// Heads of the reports on bundles of one source that bridges took at `since` or later, those gone included, at most
    /// `limit` behind `after`: in the order in which the bundles were made, those gone at the end. All pages together look
    /// at every bundle of the source once. What is reported meanwhile may be on a page or not.
    fn reports_since(
        &self,
        source: &SourceName,
        since: Timestamp,
        after: Option<ReportCursor>,
        limit: u32,
    ) -> impl Future<Output = Result<ReportPage, StoreError>> + Send;

    /// What is reported of this bundle now; of one that is gone its last report, for [`REPORTS_KEPT`] at least. None: never
    /// reported, unknown, or made anew and not reported since.
    fn report(&self, id: &str) -> impl Future<Output = Result<Option<Report>, StoreError>> + Send;

    /// Forgets the last reports of bundles that went before `before`; how many.
    fn prune_reports(
        &self,
        before: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A place in the order of reports of one store, in one of its epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPosition {
    /// The id of the epoch.
    pub(super) epoch: String,
    pub(super) seen: Watermark,
}

/// What a reader has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Watermark {
    /// Everything up to this number, where there is one writer.
    Number(i64),
    /// What the transactions wrote that had ended then, where there are many: a snapshot of the server, as text.
    Snapshot {
        until: String,
        /// How far it has come with what was written since, if that takes several calls.
        sweep: Option<Sweep>,
    },
}

/// A reader on its way from one snapshot to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sweep {
    /// The snapshot it goes to.
    pub(super) until: String,
    /// The transaction and the bundle that were read last.
    pub(super) after: (String, i64),
}

/// What was reported behind a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportHeads {
    /// In the order in which they were begun to be written.
    pub heads: Vec<ReportHead>,
    /// Where to go on.
    pub next: ReportPosition,
    /// Whether there are more already.
    pub more: bool,
}

/// Where a page of the reports of a source ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportCursor {
    /// Whether it is among those of bundles that are gone.
    pub(super) gone: bool,
    /// The bundle.
    pub(super) key: i64,
}

/// A part of what was reported of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportPage {
    /// One for each bundle.
    pub heads: Vec<ReportHead>,
    /// Behind which the next page is. None: there is no more.
    pub next: Option<ReportCursor>,
}

/// That something was reported of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportHead {
    /// The bundle.
    pub id: String,
    /// Who published it.
    pub source: SourceName,
    /// When the bridge took the status.
    pub at: Timestamp,
    /// Whether it was its last report.
    pub gone: bool,
}

/// What is reported of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The bundle.
    pub id: String,
    /// Who published it.
    pub source: SourceName,
    /// The consumer it is meant for.
    pub consumer_name: ConsumerName,
    /// The version the status describes.
    pub version: Version,
    /// Its place in the agent's order.
    pub sequence_id: Option<SequenceId>,
    /// The agent's hash of it.
    pub status_hash: Option<String>,
    /// The source's own ObjectMeta, verbatim.
    pub metadata: Option<Json>,
    /// What the bundle carries, or carried last.
    pub content: Option<Content>,
    /// The status data, a JSON object (docs/MAESTRO.md §3.2).
    pub payload: Json,
    /// When the bridge took it.
    pub at: Timestamp,
    /// Whether the bundle is gone.
    pub gone: bool,
}

/// For how long the last report of a bundle that is gone is kept at least.
pub const REPORTS_KEPT: SignedDuration = SignedDuration::from_mins(30);

/// The status of a bundle that went with its consumer: nobody confirmed anything.
pub(super) fn consumer_removed(at: Timestamp) -> Json {
    Json::from_value(&json!({
        "conditions": [{
            "type": "Deleted", "status": "True", "lastTransitionTime": rfc3339_seconds(at),
            "reason": "ConsumerRemoved",
            "message": "The consumer was removed with its bundles; what was applied on its cluster may remain there",
        }],
        "resourceStatus": [],
    }))
}
