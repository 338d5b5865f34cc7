//! Runs the bridge: parse arguments, run, turn the outcome into an exit code.

use std::process::ExitCode;

use server_bridge::args::Args;

fn main() -> ExitCode {
    link::tls::install_provider();
    link::cli::main("server-bridge", Args::run)
}
