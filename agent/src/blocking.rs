//! Work that blocks its thread, such as the file system or an evaluation that takes long, kept off the event loop.

/// Runs `work` on a thread for blocking work and waits for it; a panic of it is the caller's.
pub(crate) async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
