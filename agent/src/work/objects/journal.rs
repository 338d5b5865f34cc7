//! What an agent has to remember besides its works, in one ConfigMap: the ceiling of its sequence ids, which statuses were
//! acknowledged, and which works were deleted lately. An annotation on it pauses the agent.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use link::id::ConsumerName;
use link::order::SequenceId;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::super::StoreError;
use super::super::sequence::Sequence;
use super::super::tombstones::Tombstones;
use super::acknowledged::AckDigests;
use super::record;
use super::remote::{Remote, optional};
use crate::crd;

/// The ConfigMap. One write at a time.
pub(super) struct Journal {
    remote: Remote,
    name: String,
    consumer: ConsumerName,
    sequence: Mutex<Sequence>,
    written: std::sync::Mutex<Option<Instant>>,
    dirty: AtomicBool,
    dirtied: Notify,
}

/// What is gathered in it: digests of the acknowledged statuses, and tombstones.
pub(super) struct Notes {
    pub(super) acknowledged: String,
    pub(super) tombstones: String,
}

/// What was in it.
pub(super) struct OpenedJournal {
    pub(super) journal: Journal,
    pub(super) ack_digests: AckDigests,
    pub(super) tombstones: Tombstones,
    pub(super) paused: Option<String>,
}

// === impl Journal ===

impl Journal {
    /// Reads the ConfigMap, or makes it, so that there is something to annotate.
    pub(super) async fn open(
        client: Client,
        namespace: &str,
        consumer: &ConsumerName,
    ) -> Result<OpenedJournal, StoreError> {
        let remote = Remote::new::<ConfigMap>(client, namespace);
        let name = format!("agent-{consumer}-state");
        let found: Option<ConfigMap> = optional(remote.get(&name).await)?;
        let found = found.unwrap_or_default();
        let data = found.data.unwrap_or_default();
        // A ceiling that cannot be read is as good as none.
        let ceiling = data.get(SEQUENCE).and_then(|text| text.parse().ok());
        let journal = Self {
            remote,
            name,
            consumer: consumer.clone(),
            sequence: Mutex::new(Sequence::after(ceiling)),
            written: std::sync::Mutex::default(),
            dirty: AtomicBool::new(false),
            dirtied: Notify::new(),
        };
        if found.metadata.name.is_none() {
            journal.create(&json!({}), None).await?;
        }
        Ok(OpenedJournal {
            ack_digests: data
                .get(ACKNOWLEDGED)
                .map(|text| AckDigests::read(text))
                .unwrap_or_default(),
            tombstones: data
                .get(DEPARTED)
                .map(|text| Tombstones::read(text))
                .unwrap_or_default(),
            paused: journal.paused(&found.metadata),
            journal,
        })
    }

    /// A sequence id. When a new ceiling is due it is written first, with the notes.
    pub(super) async fn next(
        &self,
        now: Timestamp,
        notes: impl Fn() -> Notes,
    ) -> Result<SequenceId, StoreError> {
        // Held over the write: other callers wait for the same ceiling.
        let mut sequence = self.sequence.lock().await;
        let next = sequence.next(now);
        if let Some(ceiling) = next.ceiling {
            let mut data = self.clean(notes);
            data[SEQUENCE] = json!(ceiling);
            self.write(&data, Some(ceiling)).await?;
            sequence.raise(ceiling);
        }
        Ok(next.id)
    }

    /// Says that the notes changed.
    pub(super) fn touch(&self) {
        self.dirty.store(true, Ordering::Relaxed);
        self.dirtied.notify_one();
    }

    /// Writes the notes if they changed.
    pub(super) async fn flush(&self, notes: impl Fn() -> Notes) -> Result<(), StoreError> {
        let sequence = self.sequence.lock().await;
        if self.dirty.load(Ordering::Relaxed) {
            // Without the ceiling: the last write of a replaced process must not lower that of its successor.
            let data = self.clean(notes);
            self.write(&data, sequence.ceiling()).await?;
        }
        Ok(())
    }

    /// Waits until the notes have changed and the last write is some time ago.
    pub(super) async fn due(&self) {
        loop {
            self.dirtied.notified().await;
            while let Some(due) = self.next_write() {
                tokio::time::sleep_until(due).await;
            }
            if self.dirty.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Why its annotation pauses the agent.
    pub(super) fn paused(&self, metadata: &ObjectMeta) -> Option<String> {
        record::paused(metadata, &self.remote.object(&self.name))
    }

    /// The client, namespace and name, for a watch.
    pub(super) fn place(&self) -> (Client, &str, &str) {
        (self.remote.client(), self.remote.namespace(), &self.name)
    }

    /// The notes as they are now; what changes from here on is for another write.
    fn clean(&self, notes: impl Fn() -> Notes) -> Value {
        self.dirty.store(false, Ordering::Relaxed);
        let Notes {
            acknowledged,
            tombstones,
        } = notes();
        json!({ACKNOWLEDGED: acknowledged, DEPARTED: tombstones})
    }

    /// Writes `data`, of which notes are a part, and in a new ConfigMap the ceiling too.
    async fn write(&self, data: &Value, ceiling: Option<SequenceId>) -> Result<(), StoreError> {
        let written = match optional(self.remote.merge(&self.name, &json!({"data": data})).await) {
            Ok(Some(_)) => Ok(()),
            // Somebody deleted it.
            Ok(None) => self.create(data, ceiling).await,
            Err(error) => Err(error),
        };
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        written.inspect_err(|_| self.touch())
    }

    async fn create(&self, data: &Value, ceiling: Option<SequenceId>) -> Result<(), StoreError> {
        let mut data = data.clone();
        if let Some(ceiling) = ceiling {
            data[SEQUENCE] = json!(ceiling);
        }
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name, "labels": {crd::CONSUMER: self.consumer}},
            "data": data,
        });
        self.remote.create(&self.name, &map).await.map(drop)
    }

    fn next_write(&self) -> Option<Instant> {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written
            .map(|written| written + PERIOD)
            .filter(|due| *due > Instant::now())
    }
}

const SEQUENCE: &str = "sequence";
const ACKNOWLEDGED: &str = "acknowledged";
const DEPARTED: &str = "departed";
// As long as one ceiling lasts, so that while statuses are reported each write serves both.
const PERIOD: Duration = Duration::from_secs(10);
