//! What the SQL engines share: rows into domain types, pages of them, and filters and orders into statements.
//!
//! What differs between them (parameters, patterns, JSON, the order of NULL) is a [`filter::Dialect`]; what a row holds is
//! read through [`rows::Cells`].

use std::future::Future;

use tokio_util::task::AbortOnDropHandle;

use super::StoreError;

pub(super) mod agents;
pub(super) mod facts;
pub(super) mod filter;
pub(super) mod history;
pub(super) mod overview;
pub(super) mod page;
pub(super) mod presence;
pub(super) mod progress;
pub(super) mod reports;
pub(super) mod rows;
pub(super) mod status;
pub(super) mod waiting;
mod written;

pub(super) use written::Written;

/// Runs a read without waiting for whoever takes what it reads: a slow client must not hold a connection. It stops when it
/// is dropped.
pub(super) async fn to_its_end<T: Send + 'static>(
    read: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match AbortOnDropHandle::new(tokio::spawn(read)).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => Err(StoreError::Panicked),
        Err(_) => Err(StoreError::Closed),
    }
}
