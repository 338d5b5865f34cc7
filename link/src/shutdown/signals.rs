//! The signals that ask a process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Handlers of the signals; they stay for as long as the process runs.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    // None where the process was started with SIGHUP ignored: a handler would undo `nohup`.
    hangup: Option<Signal>,
}

/// A signal that asks the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Terminate,
    Interrupt,
    Hangup,
}

// === impl Signals ===

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = match ignores(&status, SignalKind::hangup()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// The next one; `None` when no more can come.
    pub(super) async fn next(&mut self) -> Option<Stop> {
        let Self {
            terminate,
            interrupt,
            hangup,
        } = self;
        let hangup = async {
            match hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(()) = terminate.recv() => Some(Stop::Terminate),
            Some(()) = interrupt.recv() => Some(Stop::Interrupt),
            Some(()) = hangup => Some(Stop::Hangup),
            else => None,
        }
    }
}

// === impl Stop ===

impl Stop {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// Whether a process with this `/proc/PID/status` ignores a signal. Where there is no such file none counts as ignored.
fn ignores(status: &str, signal: SignalKind) -> bool {
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(signal.as_raw_value() - 1).ok();
    mask.zip(bit)
        .is_some_and(|(mask, bit)| mask >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_told_from_other_ignored_signals() {
        let status = |mask| format!("Name:\tagent\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        for (mask, ignored) in [
            ("0000000000000001", true),
            ("0000000000001001", true),
            // SIGPIPE, which every Rust program ignores.
            ("0000000000001000", false),
            ("0000000000000000", false),
            ("what", false),
        ] {
            assert_eq!(
                ignores(&status(mask), SignalKind::hangup()),
                ignored,
                "{mask}"
            );
        }
        assert!(!ignores("", SignalKind::hangup()));
    }
}
