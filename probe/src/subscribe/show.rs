//! How a message is written: for a person, for a script, as mosquitto_sub writes it, or as its bytes.

use link::cli::{Stdout, stdout_line};
use link::error::Failure;

use crate::args::SubscribeArgs;
use crate::format::MessageFormat;
use crate::output::{Output, write_raw};
use crate::received::Received;
use crate::view::View;

/// A way to write messages.
pub(super) struct Show {
    style: Style,
    newline: bool,
    output: Output,
}

enum Style {
    /// For a person.
    View,
    Json {
        pretty: bool,
    },
    Raw {
        topic: bool,
    },
    Format(MessageFormat),
}

/// `--pretty` without JSON.
#[derive(Debug, thiserror::Error)]
#[error("option `--pretty` is given without `--json`, and without `-F` with `%j` or `%J`")]
struct NoJson;

// === impl Show ===

impl Show {
    pub(super) fn of(args: &SubscribeArgs, output: Output) -> Result<Self, Failure> {
        let pretty = args.pretty;
        let style = if let Some(format) = &args.format {
            Style::Format(MessageFormat::parse(format, pretty).map_err(Failure::misuse)?)
        } else if args.output.json {
            Style::Json { pretty }
        } else if args.raw || args.verbose || args.no_newline {
            Style::Raw {
                topic: args.verbose,
            }
        } else {
            Style::View
        };
        if pretty && !matches!(style, Style::Format(_) | Style::Json { .. }) {
            let hint = "add `--json`, or `-F %j`".to_string();
            return Err(Failure::usage(NoJson).with_hint(hint));
        }
        Ok(Self {
            style,
            newline: !args.no_newline,
            output,
        })
    }

    pub(super) fn show(&self, received: &Received<'_>) -> Result<Stdout, Failure> {
        let newline: &[u8] = if self.newline { b"\n" } else { b"" };
        let message = received.message;
        Ok(match &self.style {
            Style::View => stdout_line(&View::of(received).text())?,
            Style::Json { pretty: false } => stdout_line(&View::of(received).json().to_string())?,
            Style::Json { pretty: true } => {
                stdout_line(&format!("{:#}", View::of(received).json()))?
            }
            Style::Raw { topic: false } => write_raw(&[&message.payload, newline])?,
            Style::Raw { topic: true } => {
                write_raw(&[message.topic.as_bytes(), b" ", &message.payload, newline])?
            }
            Style::Format(format) => {
                let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&message.payload);
                if format.wants_json() && is_json().is_err() {
                    let topic = &message.topic;
                    self.output.note(&format!(
                        "the payload on `{topic}` is no JSON: `%J` is left out"
                    ));
                }
                write_raw(&[&format.render(received), newline])?
            }
        })
    }
}
