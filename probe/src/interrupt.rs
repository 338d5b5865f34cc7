//! Ctrl-C and SIGTERM, for commands that leave the broker in good order first.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a command. They do so by themselves until this is made, and wait for [`Self::came`] afterwards.
pub(crate) struct Interrupt {
    signals: io::Result<[Signal; 2]>,
}

// === impl Interrupt ===

impl Interrupt {
    /// Takes the signals from now on: made before anybody else can know that the command is at work.
    pub(crate) fn listen() -> Self {
        let listen = || {
            let interrupt = signal(SignalKind::interrupt())?;
            Ok([interrupt, signal(SignalKind::terminate())?])
        };
        Self { signals: listen() }
    }

    /// Resolves when one of them came since the last call.
    pub(crate) async fn came(&mut self) {
        // Without a handler the signal ends the process by itself.
        let Ok([interrupt, terminate]) = &mut self.signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
