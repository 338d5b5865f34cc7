//! Logs on stderr and the metric helpers that every component shares.
//!
//! Standard output belongs to a command's data, so logs never go there. Colour is used only on a terminal;
//! without it the text format says the same. A message is a sentence, what one searches for is a field.

mod filter;
mod lines;
mod metrics;

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::filter::InvalidFilter;
pub use self::lines::{Throttle, clip};
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
        help_heading = "Logging",
        value_name = "FORMAT"
    )]
    pub format: LogFormat,
    /// Log filter: a level (error, warn, info, debug, trace, off) or TARGET=LEVEL pairs, comma-separated
    #[arg(
        long = "log-level",
        env = "LOG_LEVEL",
        default_value = DEFAULT_FILTER,
        global = true,
        help_heading = "Logging",
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
    init_quieting(options, &[])
}

/// The same, but targets that begin with one of these prefixes log warnings and errors only, whatever the filter says:
/// libraries whose more detailed lines hold whole requests, secrets included.
///
/// # Errors
/// [`InvalidFilter`] when the filter is not understood.
pub fn init_quieting(
    options: &LogOptions,
    quieted: &'static [&'static str],
) -> Result<(), InvalidFilter> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let quiet = filter_fn(move |line| {
        *line.level() <= Level::WARN
            || !quieted
                .iter()
                .any(|prefix| line.target().starts_with(prefix))
    });
    let started = subscriber(options, colour, io::stderr)?
        .with(quiet)
        .try_init();
    // The only failure is a subscriber that is already there.
    drop(started);
    Ok(())
}

fn subscriber<W>(
    options: &LogOptions,
    colour: bool,
    writer: W,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, InvalidFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter::parse(&options.filter)?)
        // The library would say on standard error that standard error is gone, and panic in the task that logs.
        .log_internal_errors(false)
        .with_writer(writer);
    Ok(match options.format {
        LogFormat::Text => Box::new(builder.with_ansi(colour).finish()),
        LogFormat::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .finish(),
        ),
    })
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
    use std::sync::{Arc, Mutex};

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

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat) -> String {
        let sink = Sink::default();
        let options = LogOptions {
            format,
            filter: "info".into(),
        };
        let writer = sink.clone();
        let subscriber = subscriber(&options, false, move || writer.clone()).unwrap();
        let installed = subscriber.set_default();
        tracing::info!(resource.id = "b1", "Applied bundle");
        tracing::debug!("not shown");
        drop(installed);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_line_reads_without_colour() {
        let line = logged(LogFormat::Text);
        assert!(
            line.contains(" INFO link::telemetry::tests: Applied bundle resource.id=\"b1\"\n"),
            "{line}"
        );
        assert!(
            !line.contains('\u{1b}') && line.lines().count() == 1,
            "{line}"
        );
    }

    #[test]
    fn json_line_has_its_fields_at_the_top_level() {
        let line: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json)).unwrap();
        assert_eq!(line["message"], "Applied bundle");
        assert_eq!(line["resource.id"], "b1");
        assert_eq!(line["level"], "INFO");
    }
}
