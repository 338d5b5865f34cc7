//! Data on standard output, where a reader that has seen enough (`| head -1`) is no failure.

use std::io::{self, Write};

use crate::error::Hint;

/// Whether standard output is still read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a command whose output nobody reads any more should end with success"]
pub enum Stdout {
    /// The line was written.
    Open,
    /// The reader has closed the pipe; end with success.
    Closed,
}

/// Standard output could not be written, for a reason other than a reader that went away.
#[derive(Debug, thiserror::Error)]
#[error("write to standard output")]
pub struct StdoutError(#[source] io::Error);

/// Writes one line of data and flushes it.
///
/// # Errors
/// [`StdoutError`] for anything but a closed pipe, for example a full disk.
pub fn stdout_line(line: &str) -> Result<Stdout, StdoutError> {
    write_line(&mut io::stdout().lock(), line)
}

fn write_line(out: &mut dyn Write, line: &str) -> Result<Stdout, StdoutError> {
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(Stdout::Open),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Stdout::Closed),
        Err(error) => Err(StdoutError(error)),
    }
}

// === impl StdoutError ===

impl Hint for StdoutError {
    fn hint(&self) -> Option<String> {
        match self.0.kind() {
            io::ErrorKind::StorageFull => {
                Some("free space where the output is redirected to".into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn closed_pipe_is_no_error_but_a_full_disk_is() {
        let closed = write_line(&mut Failing(io::ErrorKind::BrokenPipe), "x");
        assert_eq!(closed.unwrap(), Stdout::Closed);
        let full = write_line(&mut Failing(io::ErrorKind::StorageFull), "x").unwrap_err();
        assert_eq!(full.to_string(), "write to standard output");
        assert!(full.hint().is_some());
        let mut out = Vec::new();
        assert_eq!(write_line(&mut out, "x").unwrap(), Stdout::Open);
        assert_eq!(out, b"x\n");
    }
}
