//! Calls that may hang for ever, such as a look-up or a file system that is gone.
//!
//! They run on a thread that nobody waits for: the blocking pool of the runtime would hold up the end of the process.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// The result, or `None` when it did not come within the time. The call itself then goes on until the process ends.
pub(crate) async fn within<T: Send + 'static>(
    time: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (send, receive) = oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name("doctor".into())
        .spawn(move || {
            // Nobody listens after the deadline.
            let _ = send.send(call());
        });
    spawned.ok()?;
    timeout(time, receive).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_hangs_is_left_behind() {
        assert_eq!(within(Duration::from_secs(60), || 1).await, Some(1));
        let (keep, hang) = std::sync::mpsc::sync_channel::<()>(1);
        let late = within(Duration::from_millis(1), move || hang.recv()).await;
        assert!(late.is_none());
        drop(keep);
    }
}
