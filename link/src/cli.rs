//! What every binary does around its work: parse, run on a runtime, print a failure once, choose an exit code.
//!
//! `main.rs` is one expression: `link::cli::main("agent", agent::Args::run)`, after the process-wide set-up
//! (`link::tls::install_provider()`). Data goes to standard output, everything else to standard error.

mod everywhere;
mod refusal;
mod stdout;

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

pub use self::everywhere::command;
pub use self::stdout::{Stdout, StdoutError, stdout_line};
use crate::error::{ExitKind, Failure};
pub use crate::printable::{is_hidden, printable, printable_lines};

/// How a command ended whose outcome is already printed.
pub trait Exit {
    /// The process exit code.
    fn exit_code(&self) -> u8;
}

/// Parses the command line into `A`, runs it to its end on a multi-threaded runtime and turns the outcome into
/// an exit code: 0, the code of the [`ExitKind`], or 2 for a command line that clap refuses.
///
/// A failure is printed once as `name: error: cause` with `hint: …` on the next line. A command that has
/// printed its own outcome returns the [`ExitKind`] as `Ok` (or `Ok(())` for success).
pub fn main<A, F, T>(name: &str, run: impl FnOnce(A) -> F) -> ExitCode
where
    A: clap::Parser,
    F: Future<Output = Result<T, Failure>>,
    T: Exit,
{
    let streams = Streams {
        out: &mut io::stdout(),
        err: &mut io::stderr(),
    };
    ExitCode::from(execute(name, std::env::args_os(), streams, run))
}

/// The version text for `--version`: the release, and in brackets the commit and its date, or `dev`.
///
/// A build gets them from `BUILD_COMMIT` and `BUILD_DATE`, as `deploy/images/build` does; a release build in a checkout
/// looks for them itself (`build.rs`). Other builds do not: each commit would compile all anew.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let built = [option_env!("BUILD_COMMIT"), option_env!("BUILD_DATE")];
        version_text(env!("CARGO_PKG_VERSION"), &built)
    });
    &VERSION
}

/// The commit of this build, or `unknown`.
pub fn commit() -> &'static str {
    option_env!("BUILD_COMMIT").unwrap_or("unknown")
}

fn version_text(release: &str, built: &[Option<&str>]) -> String {
    let known: Vec<&str> = built.iter().copied().flatten().collect();
    match known.is_empty() {
        true => format!("{release} (dev)"),
        false => format!("{release} ({})", known.join(", ")),
    }
}

// === impl Exit ===

impl Exit for () {
    fn exit_code(&self) -> u8 {
        0
    }
}

impl Exit for ExitKind {
    fn exit_code(&self) -> u8 {
        self.code()
    }
}

impl<T: Exit> Exit for Option<T> {
    fn exit_code(&self) -> u8 {
        self.as_ref().map_or(0, T::exit_code)
    }
}

struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

fn execute<A, F, T>(
    name: &str,
    arguments: impl IntoIterator<Item = OsString>,
    streams: Streams<'_>,
    run: impl FnOnce(A) -> F,
) -> u8
where
    A: clap::Parser,
    F: Future<Output = Result<T, Failure>>,
    T: Exit,
{
    let mut command = command::<A>();
    let matches = command.try_get_matches_from_mut(arguments);
    if let Some(verb) = matches.as_ref().ok().and_then(everywhere::Verb::of) {
        // A new one: this one has got `help` for every verb, which would get pages of its own.
        return exit_code(
            name,
            verb.run(self::command::<A>(), streams.out),
            streams.err,
        );
    }
    let args = matches.and_then(|mut matches| {
        A::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    });
    let args = match args {
        Ok(args) => args,
        Err(error) => {
            // `--help` and `--version` are data; a reader that closed the pipe has seen enough.
            let (stream, code) = if error.use_stderr() {
                (streams.err, ExitKind::Usage.code())
            } else {
                (streams.out, 0)
            };
            let _ = write!(
                stream,
                "{}",
                refusal::text(error, &command, |name| std::env::var_os(name))
            );
            let _ = stream.flush();
            return code;
        }
    };
    exit_code(name, block_on(run(args)), streams.err)
}

fn exit_code<T: Exit>(name: &str, outcome: Result<T, Failure>, err: &mut dyn Write) -> u8 {
    match outcome {
        Ok(done) => done.exit_code(),
        Err(failure) => {
            // Nothing is left to write to when standard error itself is gone.
            let _ = print_failure(name, &failure, err);
            failure.kind().code()
        }
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitKind::Failed, RuntimeError(error)))?;
    let outcome = runtime.block_on(work);
    // A blocking call that does not return (a file system that hangs) must not hold up the exit.
    runtime.shutdown_timeout(LEAVE_WITHIN);
    outcome
}

fn print_failure(name: &str, failure: &Failure, err: &mut dyn Write) -> io::Result<()> {
    // It may repeat what another server said.
    writeln!(err, "{name}: {}", printable_lines(&failure.to_string()))?;
    if let Some(hint) = failure.hint() {
        writeln!(err, "hint: {}", printable_lines(hint))?;
    }
    err.flush()
}

#[derive(Debug, thiserror::Error)]
#[error("start the async runtime")]
struct RuntimeError(#[source] io::Error);

// Long enough for a blocking write that is under way, short enough not to be noticed.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
