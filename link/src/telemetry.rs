//! Logs on stderr and the metric helpers that every component shares.
//!
//! Standard output belongs to a command's data, so logs never go there. Colour is used only on a terminal;
//! without it the text format says the same. A message is a sentence, what one searches for is a field.

mod filter;
mod metrics;

use std::io::{self, IsTerminal};

use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::filter::InvalidFilter;
pub use self::metrics::{
    BYTES_BUCKETS, SECONDS_BUCKETS, bytes_histogram, register, register_build_info,
    seconds_histogram,
};

/// How and how much to log; flatten it into a command's arguments.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct LogOptions {
    /// Log format on standard error
    #[arg(
        long = "log-format",
        env = "LOG_FORMAT",
        value_enum,
        default_value_t,
        global = true,
        value_name = "FORMAT"
    )]
    pub format: LogFormat,
    /// Log filter: a level (error, warn, info, debug, trace, off) or TARGET=LEVEL pairs, comma-separated
    #[arg(
        long = "log-level",
        env = "LOG_LEVEL",
        default_value = DEFAULT_FILTER,
        global = true,
        value_name = "FILTER"
    )]
    pub filter: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For reading: time, level, target, sentence, fields.
    #[default]
    Text,
    /// For collecting: one JSON object per line, fields at the top level.
    Json,
}

/// Starts logging for the whole process. A second call, as in tests, changes nothing and succeeds.
///
/// # Errors
/// [`InvalidFilter`] when the filter is not understood.
pub fn init(options: &LogOptions) -> Result<(), InvalidFilter> {
    let filter = filter::parse(&options.filter)?;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_span_events(FmtSpan::NONE);
    let started = match options.format {
        LogFormat::Text => builder.with_ansi(colour).finish().try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .finish()
            .try_init(),
    };
    // The only failure is a subscriber that is already there.
    drop(started);
    Ok(())
}

// === impl LogOptions ===

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            filter: DEFAULT_FILTER.into(),
        }
    }
}

const DEFAULT_FILTER: &str = "info";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        log: LogOptions,
    }

    #[test]
    fn options_parse_from_flags_and_default_to_readable_info() {
        let args = Args::parse_from([
            "x",
            "--log-format",
            "json",
            "--log-level",
            "warn,link=debug",
        ]);
        assert_eq!(args.log.format, LogFormat::Json);
        assert_eq!(args.log.filter, "warn,link=debug");
        assert_eq!(LogOptions::default().filter, "info");
    }

    #[test]
    fn init_may_be_called_again() {
        init(&LogOptions::default()).unwrap();
        init(&LogOptions::default()).unwrap();
    }
}
