//! Where the messages of `probe publish` come from.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use link::error::Hint;
use link::iot::limits::PAYLOAD_BYTES;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::time::{Instant, sleep_until};

use crate::args::PublishArgs;
use crate::off_thread;

/// A source of payloads.
pub struct Payloads(Source);

enum Source {
    /// One payload, known before anything is dialled.
    Repeated {
        payload: Bytes,
        left: u32,
        delay: Duration,
        next_at: Option<Instant>,
    },
    /// One for each line of standard input.
    Lines {
        input: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
        read: u64,
        // Of the line that is being read; kept here, because whoever waits for a line may stop waiting and come back.
        line: Vec<u8>,
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
    /// The file of `-f` does not end, or does not open, as a pipe without a writer.
    #[error("`{}` was not read to its end within {} s", path.display(), within.as_secs_f32())]
    Late {
        /// The file.
        path: PathBuf,
        /// The deadline.
        within: Duration,
    },
    /// Standard input.
    #[error("read standard input")]
    Stdin(#[source] io::Error),
    /// Nothing on standard input: as a retained message it would clear what was retained, and a command that failed
    /// before the pipe leaves nothing.
    #[error("standard input is empty")]
    Empty,
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
            return Ok(Self::lines(Box::new(tokio::io::stdin())));
        }
        let payload = if let Some(message) = &args.message {
            limited("`-m`".into(), message.clone().into_bytes())?
        } else if let Some(path) = &args.file {
            read_within(path, args.timeout).await?
        } else if args.stdin_file {
            read_input(tokio::io::stdin()).await?
        } else {
            Bytes::new()
        };
        Ok(Self(Source::Repeated {
            payload,
            left: args.repeat.unwrap_or(1),
            delay: args.repeat_delay.unwrap_or_default(),
            next_at: None,
        }))
    }

    fn lines(input: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self(Source::Lines {
            input: BufReader::new(input),
            read: 0,
            line: Vec::new(),
        })
    }

    /// The next payload; `None` at the end. A last line without a newline counts. Cancelled, it loses nothing.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, PayloadError> {
        match &mut self.0 {
            Source::Repeated {
                payload,
                left,
                delay,
                next_at,
            } => {
                if *left == 0 {
                    return Ok(None);
                }
                if let Some(at) = *next_at {
                    sleep_until(at).await;
                }
                *left -= 1;
                *next_at = (!delay.is_zero()).then(|| Instant::now() + *delay);
                Ok(Some(payload.clone()))
            }
            Source::Lines { input, read, line } => {
                let left = (MOST_READ + 1).saturating_sub(line.len() as u64);
                input
                    .take(left)
                    .read_until(b'\n', line)
                    .await
                    .map_err(PayloadError::Stdin)?;
                *read += 1;
                let mut bytes = std::mem::take(line);
                if bytes.is_empty() {
                    return Ok(None);
                }
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                limited(format!("line {read} of standard input"), bytes).map(Some)
            }
        }
    }
}

impl Hint for PayloadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } | Self::Stdin(_) => None,
            Self::Late { .. } => {
                Some("start what writes to the pipe first, or give more time with `-W`".into())
            }
            Self::Empty => Some("`-n` publishes a message without content".into()),
            Self::TooLarge { .. } => {
                Some("split it: AWS IoT Core ends the connection on a larger payload".into())
            }
        }
    }
}

async fn read_input(input: impl AsyncRead + Unpin) -> Result<Bytes, PayloadError> {
    let mut bytes = Vec::new();
    let mut input = input.take(MOST_READ);
    input
        .read_to_end(&mut bytes)
        .await
        .map_err(PayloadError::Stdin)?;
    if bytes.is_empty() {
        return Err(PayloadError::Empty);
    }
    limited("standard input".into(), bytes)
}

async fn read_within(path: &Path, within: Duration) -> Result<Bytes, PayloadError> {
    let named = path.to_owned();
    let late = || PayloadError::Late {
        path: path.to_owned(),
        within,
    };
    off_thread::within(within, move || read_file(&named))
        .await
        .ok_or_else(late)?
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn standard_input_is_one_message_and_none_when_it_is_empty() {
        assert_eq!(read_input(b"a\nb".as_slice()).await.unwrap(), "a\nb");
        let error = read_input(b"".as_slice()).await.unwrap_err();
        assert_eq!(error.to_string(), "standard input is empty");
        assert!(error.hint().unwrap().contains("`-n`"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_nobody_writes_to_is_left_at_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let within = Duration::from_secs(2);
        let error = read_within(&pipe, within).await.unwrap_err();
        assert!(matches!(error, PayloadError::Late { .. }), "{error}");
        assert!(error.to_string().ends_with("within 2 s"), "{error}");
        assert!(error.hint().unwrap().contains("-W"));
    }

    #[tokio::test]
    async fn a_line_that_comes_in_pieces_survives_whoever_stops_waiting_for_it() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut payloads = Payloads::lines(Box::new(reader));
        writer.write_all(b"one\nt").await.unwrap();
        assert_eq!(payloads.next().await.unwrap().unwrap(), "one");
        // Polled once, which takes what is there, and dropped.
        let waiting = polled_once(payloads.next()).await;
        assert!(waiting.is_none());
        writer.write_all(b"wo\nthree").await.unwrap();
        drop(writer);
        assert_eq!(payloads.next().await.unwrap().unwrap(), "two");
        assert_eq!(payloads.next().await.unwrap().unwrap(), "three");
        assert_eq!(payloads.next().await.unwrap(), None);
    }

    async fn polled_once<F: Future>(future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(done) => Some(done),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_repeated_with_its_delay_between_and_not_before() {
        let mut payloads = Payloads(Source::Repeated {
            payload: "x".into(),
            left: 3,
            delay: Duration::from_secs(2),
            next_at: None,
        });
        let began = Instant::now();
        for seconds in [0, 2, 4] {
            assert_eq!(payloads.next().await.unwrap().unwrap(), "x");
            assert_eq!(began.elapsed(), Duration::from_secs(seconds));
        }
        assert_eq!(payloads.next().await.unwrap(), None);
    }
}
