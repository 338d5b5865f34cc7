//! The command line of the sandbox.

use clap::{Parser, Subcommand};
use link::error::{ExitKind, Failure};
use link::telemetry::{self, LogOptions};

mod broker;

/// An IoT Core on a laptop.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version = link::cli::version(), propagate_version = true)]
pub struct Args {
    #[command(flatten)]
    log: LogOptions,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker alone: MQTT 5 and 3.1.1 over mutual TLS, with IoT Core's limits
    Broker(broker::Args),
}

// === impl Args ===

impl Args {
    /// Runs the command.
    ///
    /// # Errors
    /// With what failed and a hint.
    pub async fn run(self) -> Result<(), Failure> {
        telemetry::init(&self.log).map_err(|error| Failure::new(ExitKind::Usage, error))?;
        match self.command {
            Command::Broker(args) => args.run().await,
        }
    }
}
