//! The command line of the sandbox.

use clap::{Parser, Subcommand};
use link::error::Failure;

mod broker;
mod fault;
mod up;

/// An IoT Core on a laptop.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version = link::cli::version(), propagate_version = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole region: broker, server-bridge and agents, with certificates and policies
    Up(up::UpArgs),
    /// A bridge of `up --store`, which starts it
    #[command(name = "server-bridge", hide = true)]
    Bridge(Box<server_bridge::args::Args>),
    /// Run the broker alone: MQTT 5 and 3.1.1 over mutual TLS, with IoT Core's limits
    Broker(broker::BrokerArgs),
    /// Make the broker of a running sandbox fail, to see what a diagnosis says
    Fault(fault::FaultArgs),
}

// === impl Args ===

impl Args {
    /// Runs the command.
    ///
    /// # Errors
    /// With what failed and a hint.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Up(args) => Box::pin(args.run()).await,
            Command::Bridge(args) => crate::up::run_replica(*args).await,
            Command::Broker(args) => args.run().await,
            Command::Fault(args) => args.run().await,
        }
    }
}
