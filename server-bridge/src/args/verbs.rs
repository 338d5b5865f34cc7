//! Subcommands: what the program does besides running the bridge.

use clap::Subcommand;
use link::error::Failure;
use link::telemetry;

use super::Args;
use super::consumer::ConsumerVerb;
use super::explain::ExplainArgs;
use super::import::ImportVerb;
use super::sidecar::SidecarArgs;
use super::store::verbs::StoreVerb;
use super::verify::VerifyArgs;

/// One of the things done instead of running the bridge.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look after the store: its tables, its state, its move to the other engine
    #[command(subcommand)]
    Store(StoreVerb),
    /// Look after consumers of a store that no bridge need run on
    #[command(subcommand)]
    Consumer(ConsumerVerb),
    /// Tell the story of a bundle or a consumer: each hop with its time, where it waits and since when, why, and what would move
    /// it. Changes nothing, also while bridges run
    Explain(ExplainArgs),
    /// Take over what another system keeps
    #[command(subcommand)]
    Import(ImportVerb),
    /// Stand between a Go Maestro server in the same pod and the broker: plain MQTT on loopback, this project's sessions
    /// with mutual TLS to the broker
    Sidecar(Box<SidecarArgs>),
    /// Say whether the region keeps what it promises, once or for ever: canaries come back, the ledger only goes forward,
    /// both ends hold the same, and nothing that was acknowledged is missing
    Verify(Box<VerifyArgs>),
}

// === impl Command ===

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line, 1 for what was tried and failed.
    pub async fn run(&self, args: &Args) -> Result<(), Failure> {
        telemetry::init(&args.log).map_err(Failure::misuse)?;
        match self {
            Self::Store(verb) => verb.run(args).await,
            Self::Consumer(verb) => verb.run(args).await,
            Self::Explain(explain) => explain.run(args).await,
            Self::Import(verb) => verb.run(args).await,
            Self::Sidecar(sidecar) => sidecar.run(args).await,
            Self::Verify(verify) => verify.run().await,
        }
    }
}
