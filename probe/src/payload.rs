//! Where the messages of `probe publish` come from.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use link::error::Hint;
use link::iot::limits::PAYLOAD_BYTES;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};

use crate::args::PublishArgs;

/// A source of payloads.
pub enum Payloads {
    /// One payload, known before anything is dialled.
    One(Option<Bytes>),
    /// One for each line of standard input.
    Lines {
        /// Standard input.
        input: BufReader<Stdin>,
        /// Lines read so far.
        line: u64,
    },
}

/// Why a payload cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The file of `-f`.
    #[error("read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Standard input.
    #[error("read standard input")]
    Stdin(#[source] io::Error),
    /// More than the broker takes.
    #[error("{what} holds more than {PAYLOAD_BYTES} bytes, the most that one message may carry")]
    TooLarge {
        /// Which input.
        what: String,
    },
}

// === impl Payloads ===

impl Payloads {
    /// Opens what the options name. Everything but `-l` is read to its end.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub async fn open(args: &PublishArgs) -> Result<Self, PayloadError> {
        if args.stdin_line {
            return Ok(Self::Lines {
                input: BufReader::new(tokio::io::stdin()),
                line: 0,
            });
        }
        let payload = if let Some(message) = &args.message {
            limited("`-m`".into(), message.clone().into_bytes())?
        } else if let Some(path) = &args.file {
            read_file(path)?
        } else if args.stdin_file {
            let mut bytes = Vec::new();
            let mut input = tokio::io::stdin().take(MOST_READ);
            input
                .read_to_end(&mut bytes)
                .await
                .map_err(PayloadError::Stdin)?;
            limited("standard input".into(), bytes)?
        } else {
            Bytes::new()
        };
        Ok(Self::One(Some(payload)))
    }

    /// The next payload; `None` at the end. A last line without a newline counts.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, PayloadError> {
        match self {
            Self::One(payload) => Ok(payload.take()),
            Self::Lines { input, line } => {
                *line += 1;
                let mut bytes = Vec::new();
                let mut limited_input = input.take(MOST_READ + 1);
                limited_input
                    .read_until(b'\n', &mut bytes)
                    .await
                    .map_err(PayloadError::Stdin)?;
                if bytes.is_empty() {
                    return Ok(None);
                }
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                limited(format!("line {line} of standard input"), bytes).map(Some)
            }
        }
    }
}

impl Hint for PayloadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } | Self::Stdin(_) => None,
            Self::TooLarge { .. } => {
                Some("split it: AWS IoT Core ends the connection on a larger payload".into())
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Bytes, PayloadError> {
    use std::io::Read;
    let fail = |source| PayloadError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(MOST_READ).read_to_end(&mut bytes).map_err(fail)?;
    limited(format!("`{}`", path.display()), bytes)
}

fn limited(what: String, bytes: Vec<u8>) -> Result<Bytes, PayloadError> {
    if bytes.len() > PAYLOAD_BYTES {
        return Err(PayloadError::TooLarge { what });
    }
    Ok(bytes.into())
}

// One byte more than allowed is enough to know.
const MOST_READ: u64 = PAYLOAD_BYTES as u64 + 1;
