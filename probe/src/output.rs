//! Data on standard output, notes on standard error.

use std::io::{self, Write};

use link::cli::{Stdout, StdoutError, stdout_line};
use link::error::{Failure, Hint};
use serde_json::{Value, json};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

// === impl Format ===

impl Format {
    /// From the `--json` flag.
    pub fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints whichever form was asked for.
    ///
    /// # Errors
    /// Anything but a reader that went away.
    pub fn print(
        self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> Result<Stdout, StdoutError> {
        match self {
            Self::Text => stdout_line(&text()),
            Self::Json => stdout_line(&json().to_string()),
        }
    }

    /// In JSON a failure is a result too, so that a script need not read standard error.
    pub fn print_failure(self, failure: &Failure) {
        if self == Self::Json {
            // The failure itself is about to be reported; that it could not be printed twice is no news.
            let _ = stdout_line(&failure_json(failure).to_string());
        }
    }
}

/// A remark that changes nothing about success.
pub fn note(text: &str) {
    // There is nobody left to tell when standard error itself is gone.
    let _ = writeln!(io::stderr(), "note: {text}");
}

/// Writes bytes as they are, and a newline.
///
/// # Errors
/// Anything but a reader that went away.
pub fn raw_line(prefix: &str, bytes: &[u8]) -> Result<Stdout, RawError> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(prefix.as_bytes())
        .and_then(|()| out.write_all(bytes))
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Ok(()) => Ok(Stdout::Open),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Stdout::Closed),
        Err(error) => Err(RawError(error)),
    }
}

/// Raw bytes could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write to standard output")]
pub struct RawError(#[source] io::Error);

impl Hint for RawError {}

/// Milliseconds with three decimals.
pub fn millis(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "type": "result",
        "ok": false,
        "error": failure.to_string(),
        "hint": failure.hint(),
        "exitCode": failure.kind().code(),
    })
}
