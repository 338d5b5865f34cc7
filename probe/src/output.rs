//! Data on standard output, notes on standard error.

use std::io::{self, Write};

use link::cli::{Stdout, StdoutError, stdout_line};
use link::error::{Failure, Hint};
use serde_json::{Value, json};

use crate::args::OutputArgs;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// How results are printed.
    pub format: OutputFormat,
    /// Whether notes and failures of the run are kept back.
    pub quiet: bool,
}

// === impl Output ===

impl Output {
    /// From the flags.
    pub fn of(args: OutputArgs) -> Self {
        let format = if args.json {
            OutputFormat::Json
        } else {
            OutputFormat::Text
        };
        Self {
            format,
            quiet: args.quiet,
        }
    }

    /// Prints whichever form was asked for; text not at all with `--quiet`.
    ///
    /// # Errors
    /// Anything but a reader that went away.
    pub fn print(
        self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> Result<Stdout, StdoutError> {
        match self.format {
            OutputFormat::Text if self.quiet => Ok(Stdout::Open),
            OutputFormat::Text => stdout_line(&text()),
            OutputFormat::Json => stdout_line(&json().to_string()),
        }
    }

    /// In JSON a failure is a result too, so that a script need not read standard error.
    pub fn print_failure(self, failure: &Failure) {
        if self.format == OutputFormat::Json {
            // The failure itself is about to be reported; that it could not be printed twice is no news.
            let _ = stdout_line(&failure_json(failure).to_string());
        }
    }

    /// A remark that changes nothing about success.
    pub fn note(self, text: &str) {
        if !self.quiet {
            // There is nobody left to tell when standard error itself is gone.
            let _ = writeln!(io::stderr(), "note: {text}");
        }
    }
}

/// Writes bytes as they are, and flushes them.
///
/// # Errors
/// Anything but a reader that went away.
pub fn write_raw(parts: &[&[u8]]) -> Result<Stdout, RawError> {
    let mut out = io::stdout().lock();
    let written = parts
        .iter()
        .try_for_each(|part| out.write_all(part))
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
