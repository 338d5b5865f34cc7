//! Parses the command line, runs one verb and turns its outcome into an exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use link::error::ExitKind;
use provisioner::args::Args;
use provisioner::outcome::wants_exit_code;

fn main() -> ExitCode {
    link::tls::install_provider();
    if wants_exit_code(std::env::args_os())
        && let Err(wrong) = link::cli::command::<Args>().try_get_matches()
        && wrong.use_stderr()
    {
        // Nothing is left to write to when standard error itself is gone.
        let _ = write!(io::stderr(), "{}", wrong.render());
        return ExitCode::from(ExitKind::Failed.code());
    }
    link::cli::main("provisioner", provisioner::run)
}
