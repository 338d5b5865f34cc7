//! Runs the sandbox: parse arguments, run, turn the outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    link::tls::install_provider();
    link::cli::main("sandbox", sandbox::cli::Args::run)
}
