//! Parses the command line, runs one verb and turns its outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    link::tls::install_provider();
    link::cli::main("provisioner", provisioner::run)
}
