//! Runs the bridge: parse arguments, run, turn the outcome into an exit code.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use link::clock::Clock;
use link::error::Failure;
use prometheus::Registry;
use server_bridge::api::{Config, Metrics};
use server_bridge::preload;
use server_bridge::store::Store;
use server_bridge::store::sqlite::SqliteStore;

/// The regional side: API, store and delivery.
#[derive(Debug, Parser)]
struct Args {
    /// SQLite file that holds everything; made when missing
    #[arg(long, default_value = "bridge.db")]
    database: PathBuf,
    /// Address the REST API listens on; callers are not authenticated
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Consumers to register at start, as a YAML or JSON list
    #[arg(long, value_name = "FILE")]
    consumers: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::new(link::error::ExitKind::Failed, error)),
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let clock = Clock::system();
    let registry = Registry::new();
    let store = SqliteStore::open(&args.database).await?;
    if let Some(file) = &args.consumers {
        let consumers = preload::read(file)?;
        store.ensure_consumers(consumers, clock.now()).await?;
    }
    let config = Config {
        listen: args.listen,
        ..Config::default()
    };
    let failed = |error| Failure::new(link::error::ExitKind::Failed, error);
    let metrics = Metrics::register(&registry).map_err(|error| failed(Box::new(error) as _))?;
    let api = config.build(store.clone(), clock, metrics).await?;
    let stop = async {
        // Without the signal there is nothing to wait for but a second one, which ends the process.
        let _ = tokio::signal::ctrl_c().await;
    };
    api.serve(stop)
        .await
        .map_err(|error| failed(Box::new(error) as Box<dyn std::error::Error + Send + Sync>))?;
    store.close().await;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the one place that speaks to a person")]
fn report(failure: &Failure) -> ExitCode {
    eprintln!("server-bridge: {failure}");
    if let Some(hint) = failure.hint() {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(failure.kind().code())
}
