//! The store off the event loop: each call is one of [`Files`] on a thread that may block.

use std::sync::Arc;

use jiff::Timestamp;
use link::order::SequenceId;
use tokio::sync::mpsc;

use super::super::{Head, StatusRecord, Store, StoreError, Stored, Work, WorkId, WorkIndex};
use super::Files;
use crate::blocking::blocking;
use crate::change::Change;

// === impl Store ===

impl Store for Arc<Files> {
    fn index(&self) -> &WorkIndex {
        &self.index
    }

    async fn commit(&self, works: Arc<Vec<Work>>) -> Result<(), StoreError> {
        let this = Self::clone(self);
        blocking(move || Files::commit(&this, &works)).await
    }

    async fn read(&self, id: &WorkId) -> Result<Option<Stored>, StoreError> {
        let (this, id) = (Self::clone(self), id.clone());
        blocking(move || {
            let record = this.status(&id)?;
            let work = Files::read(&this, &id)?;
            Ok(work.map(|work| Stored { work, record }))
        })
        .await
    }

    async fn reported(&self, id: &WorkId) -> Result<Option<(Head, StatusRecord)>, StoreError> {
        let (this, id) = (Self::clone(self), id.clone());
        blocking(move || {
            let Some(record) = this.status(&id)? else {
                return Ok(None);
            };
            Ok(this.head(&id)?.map(|head| (head, record)))
        })
        .await
    }

    async fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: StatusRecord,
    ) -> Result<bool, StoreError> {
        let (this, id) = (Self::clone(self), id.clone());
        blocking(move || Files::put_status(&this, &id, epoch, &record)).await
    }

    async fn acknowledge(&self, id: &WorkId, record: StatusRecord) -> Result<(), StoreError> {
        let (this, id) = (Self::clone(self), id.clone());
        blocking(move || Files::acknowledge(&this, &id, &record)).await
    }

    async fn remove(&self, id: &WorkId) -> Result<(), StoreError> {
        let (this, id) = (Self::clone(self), id.clone());
        blocking(move || Files::remove(&this, &id)).await
    }

    async fn next_sequence(&self, now: Timestamp) -> Result<SequenceId, StoreError> {
        let this = Self::clone(self);
        blocking(move || Files::next_sequence(&this, now)).await
    }

    // Nobody else writes here: the directory is locked.
    async fn watch(&self, _: mpsc::Sender<Change>) {
        std::future::pending::<()>().await;
    }
}
