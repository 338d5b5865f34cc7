//! Whether a direct message was acknowledged, told to the one who waits for it.

use tokio::sync::watch;

/// Travels with the message; copies belong to the same wait.
#[derive(Clone, Debug)]
pub(super) struct Confirmation(watch::Sender<bool>);

/// The end that waits.
#[derive(Debug)]
pub(super) struct Confirmed(watch::Receiver<bool>);

// === impl Confirmation ===

impl Confirmation {
    pub(super) fn new() -> (Self, Confirmed) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Confirmed(receiver))
    }

    /// The receiver acknowledged.
    pub(super) fn confirm(&self) {
        self.0.send_replace(true);
    }

    /// Whether nobody waits any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

// === impl Confirmed ===

impl Confirmed {
    /// Whether the message was acknowledged; completes when it was, or when it cannot be any more.
    pub(super) async fn wait(mut self) -> bool {
        self.0.wait_for(|confirmed| *confirmed).await.is_ok()
    }
}
