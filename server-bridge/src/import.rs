//! Taking over from Maestro: what its database holds is put into the store, so that a bridge goes on where it stopped.
//!
//! Maestro's database is read in one read-only transaction and never changed; the store is written in one transaction, so
//! that an import that ends in whatever way has happened as a whole or not at all, and may be repeated. What agents have
//! reported on counts as sent: they get nothing again, and are asked for no status they have sent. All rest is sent.
//!
//! Refused while Maestro lives, because what it took meanwhile would be lost. Rows that cannot be kept are named one by one,
//! and nothing is written while there are any, unless they are to be left out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use link::id::{ConsumerName, SourceId};
use link::topic::Scheme;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use crate::store::{BundleOutcome, ImportTransaction, LabelsOutcome, Location};
use crate::validate::Envelope;

mod error;
mod event;
mod maestro;
mod plain;
mod report;
mod row;

pub use error::ImportError;
pub use maestro::Database;
pub use report::{Bundles, Consumers, ImportReport, Item};

use maestro::{Heartbeats, Snapshot};
use row::RowRules;

/// What is to be imported, and how.
#[derive(Clone)]
pub struct Import {
    /// Maestro's database.
    pub from: Database,
    /// The store.
    pub to: Location,
    /// For whom the bridge is to speak: Maestro's `--source-id`.
    pub source: SourceId,
    /// Write nothing, and say what would be done.
    pub dry_run: bool,
    /// Look although Maestro lives; for a dry run.
    pub while_maestro_runs: bool,
    /// Go on without the rows that cannot be kept.
    pub skip_unusable: bool,
    /// How long a replica that counts as ready and was not heard lately is waited for.
    pub patience: Duration,
}

/// As long as Maestro may be silent between two heartbeats, and a little longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

// === impl Import ===

impl Import {
    /// Does it.
    ///
    /// # Errors
    /// [`ImportError`]; the store is as it was. When rows have to be decided about, the report says so and nothing was
    /// written.
    pub async fn run(self) -> Result<ImportReport, ImportError> {
        let began = Instant::now();
        let before = self.from.heartbeats().await;
        let mut snapshot = self.from.snapshot().await?;
        // Another database has no such table: that was said better.
        let before = before?;
        let alive = before.alive();
        if !alive.is_empty() && !self.while_maestro_runs {
            let instances = alive.join(", ");
            return Err(ImportError::Alive { instances });
        }
        let mut store = if self.dry_run {
            ImportTransaction::look(&self.to, &self.source).await?
        } else {
            ImportTransaction::begin(&self.to, &self.source).await?
        };
        let outcome = self.take(&mut snapshot, &mut store, &before).await;
        let mut report = match outcome {
            Ok(report) => report,
            Err(error) => {
                store.abandon().await;
                return Err(error);
            }
        };
        report.written = self.skip_unusable || report.left_out.is_empty();
        if !self.while_maestro_runs
            && let Err(error) = self.still(&before, began).await
        {
            store.abandon().await;
            return Err(error);
        }
        snapshot.close().await;
        if report.written && !self.dry_run {
            store.commit().await?;
        } else {
            store.abandon().await;
        }
        Ok(report)
    }

    async fn take(
        &self,
        snapshot: &mut Snapshot,
        store: &mut ImportTransaction,
        before: &Heartbeats,
    ) -> Result<ImportReport, ImportError> {
        let mut report = ImportReport {
            from: self.from.place(),
            to: store.place().to_owned(),
            read_at: time(snapshot.at),
            migration: snapshot.migration.clone(),
            client_ids: before.instances.iter().map(|one| one.id.clone()).collect(),
            sessions: before.sessions,
            last_change: before.changed_at.map(time),
            source_id: self.source.to_string(),
            dry_run: self.dry_run,
            ..ImportReport::default()
        };
        let consumers = self.consumers(snapshot, store, &mut report).await?;
        let envelope = Envelope {
            source: self.source.clone(),
            scheme: Scheme::upstream(&self.source),
        };
        let rules = RowRules {
            envelope: &envelope,
            consumers: &consumers,
        };
        let mut others: HashMap<String, u64> = HashMap::new();
        let mut rows = snapshot.bundles();
        while let Some(row) = rows.next().await {
            let row = row?;
            report.bundles.found += 1;
            if report.bundles.found.is_multiple_of(PROGRESS) {
                info!(bundles = report.bundles.found, "Reading");
            }
            let kept = match row::bundle(&row, &rules) {
                Ok(kept) => kept,
                Err(reason) => {
                    store.left_out(&row.id);
                    report.left_out.push(item("bundle", row.id, reason));
                    continue;
                }
            };
            match kept.answers {
                Some(source) if source == self.source.as_str() => report.answers += 1,
                Some(source) => *others.entry(source).or_default() += 1,
                None => {}
            }
            let bundle = kept.bundle;
            let source = bundle.source.to_string();
            *report.sources.entry(source).or_default() += 1;
            let (deleting, confirmed) = (bundle.deleted_at.is_some(), bundle.is_confirmed());
            let silent = bundle.status.is_none();
            let counts = &mut report.bundles;
            match store.add(bundle).await? {
                BundleOutcome::Present => {
                    counts.present += 1;
                    continue;
                }
                BundleOutcome::Refused(reason) => {
                    report.left_out.push(item("bundle", row.id, reason));
                    continue;
                }
                BundleOutcome::Added => counts.added += 1,
                BundleOutcome::Replaced => counts.replaced += 1,
            }
            counts.without_status += u64::from(silent);
            match (deleting, confirmed) {
                (true, _) => counts.deleting += 1,
                (false, true) => counts.confirmed += 1,
                (false, false) => counts.unsent += 1,
            }
            if let Some(remark) = kept.remark {
                report.remarks.push(item("bundle", row.id, remark));
            }
        }
        drop(rows);
        let most = others.into_iter().max_by_key(|(_, count)| *count);
        if report.answers == 0
            && let Some((found, _)) = most
        {
            return Err(ImportError::OtherSource {
                found,
                source_id: self.source.clone(),
            });
        }
        let (gone, only_here) = store.only_here();
        report.only_here = only_here;
        let gone = gone.into_iter().map(|id| item("bundle", id, GONE.into()));
        report.left_out.extend(gone);
        Ok(report)
    }

    /// Puts the consumers in; which of them bundles may name.
    async fn consumers(
        &self,
        snapshot: &mut Snapshot,
        store: &mut ImportTransaction,
        report: &mut ImportReport,
    ) -> Result<HashSet<ConsumerName>, ImportError> {
        let (mut usable, mut new) = (HashSet::new(), Vec::new());
        for row in snapshot.consumers().await? {
            report.consumers.found += 1;
            let (consumer, created_at, updated_at) = match row::consumer(&row) {
                Ok(consumer) => consumer,
                Err(reason) => {
                    report.left_out.push(item("consumer", row.id, reason));
                    continue;
                }
            };
            if let Some(here) = store.consumer(&consumer.name) {
                if here != consumer.id {
                    let remark = format!("`{}` has the id `{here}` here, and keeps it", row.name);
                    report.remarks.push(item("consumer", row.id, remark));
                }
                match store.relabel(&consumer, created_at, updated_at).await? {
                    LabelsOutcome::Same => report.consumers.present += 1,
                    LabelsOutcome::Replaced => report.consumers.relabelled += 1,
                    LabelsOutcome::Refused => {
                        report.consumers.present += 1;
                        report
                            .remarks
                            .push(item("consumer", consumer.id, LABELS.into()));
                    }
                }
                usable.insert(consumer.name);
                continue;
            }
            if let Some(name) = store.consumer_of(&consumer.id) {
                let reason = format!("its id is that of `{name}` here");
                report.left_out.push(item("consumer", row.id, reason));
                continue;
            }
            report.consumers.added += 1;
            usable.insert(consumer.name.clone());
            new.push((consumer, created_at, updated_at));
        }
        store.add_consumers(new).await?;
        Ok(usable)
    }

    /// Whether Maestro's database is still as it was read.
    async fn still(&self, before: &Heartbeats, began: Instant) -> Result<(), ImportError> {
        if before.is_doubtful() {
            info!("A replica of Maestro counts as ready: waiting whether it is heard");
            sleep_until(began + self.patience).await;
        }
        let after = self.from.heartbeats().await?;
        let heard = after.since(before);
        if !heard.is_empty() {
            let instances = heard.join(", ");
            return Err(ImportError::Alive { instances });
        }
        if (after.changed_at, after.bundles) != (before.changed_at, before.bundles) {
            return Err(ImportError::Changed {
                problem: format!(
                    "it had {} bundles and has {} now, the last change was at {} and is at {} now",
                    before.bundles,
                    after.bundles,
                    before.changed_at.map(time).unwrap_or_default(),
                    after.changed_at.map(time).unwrap_or_default()
                ),
            });
        }
        Ok(())
    }
}

fn item(kind: &'static str, id: String, reason: String) -> Item {
    Item { kind, id, reason }
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

const GONE: &str = "it was imported before, and Maestro has it no more: delete it here, or import into an empty store";

const LABELS: &str =
    "its labels here are others, and stay: it was made here, or changed here later";

const PROGRESS: u64 = 10_000;
