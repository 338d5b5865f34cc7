//! What the user typed, unresolved: no file is read and no name is looked up here.
//!
//! Letters keep mosquitto's meaning, so `-h` is the host and help is `--help` only.

mod connection;
mod publish;

use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};

pub use self::connection::{ConnectionArgs, ProtocolVersion};
pub use self::publish::PublishArgs;
use crate::check::stage::Stage;

/// Publishes, listens, measures and diagnoses over MQTT 5 with mutual TLS
#[derive(Clone, Debug, Parser)]
#[command(
    name = "probe",
    version = link::cli::version(),
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
pub struct Args {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
    /// Print the version
    #[arg(long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One of the things that probe does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Publish messages and wait until the broker has acknowledged each of them
    #[command(visible_alias = "pub", after_help = EXIT_CODES)]
    Publish(Box<PublishArgs>),
    /// Show the messages that arrive, events and bundles readably
    #[command(visible_alias = "sub", after_help = EXIT_CODES)]
    Subscribe(Box<SubscribeArgs>),
    /// Measure the round trip through the broker
    #[command(visible_alias = "rtt", after_help = EXIT_CODES)]
    Ping(Box<PingArgs>),
    /// Find out at which stage a connection fails, and why
    #[command(visible_alias = "doctor", after_help = format!("{OWN_ID}\n\n{EXIT_CODES}"))]
    Check(Box<CheckArgs>),
}

/// `probe subscribe`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SubscribeArgs {
    /// Filter to subscribe to, also `$share/NAME/FILTER`; repeatable
    #[arg(short, long = "topic", value_name = "FILTER", required = true)]
    pub topics: Vec<String>,
    /// End with success after this many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Stop after this many seconds: success if anything arrived and no -C is open, else exit code 3
    #[arg(short = 'W', long = "timeout", value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
    /// Put the topic before each raw message
    #[arg(short, long)]
    pub verbose: bool,
    /// Write the payloads as they are, each followed by a newline
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// Print one JSON object per message
    #[arg(long)]
    pub json: bool,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `probe ping`.
#[derive(Clone, Debug, ClapArgs)]
pub struct PingArgs {
    /// Topic to publish to and to listen on [default: test/probe/CLIENT-ID]
    #[arg(short, long)]
    pub topic: Option<String>,
    /// Round trips to make
    #[arg(short = 'C', long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: u32,
    /// Milliseconds from one start to the next; a late answer delays it
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub interval: u64,
    /// Payload bytes of each ping
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(i64::from(PING_HEADER)..=link::iot::limits::PAYLOAD_BYTES as i64))]
    pub size: u32,
    /// Seconds to connect, and to wait for each answer
    #[arg(short = 'W', long = "timeout", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// Print one JSON object per round trip and one with the result
    #[arg(long)]
    pub json: bool,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `probe check`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CheckArgs {
    /// Topic of the round trip [default: test/probe/CLIENT-ID]
    #[arg(short, long, conflicts_with = "consumer")]
    pub topic: Option<String>,
    /// Check the topics of this consumer's agent, and print what its policy needs
    #[arg(long, value_name = "NAME")]
    pub consumer: Option<String>,
    /// Stop with success after this stage: files, dns, tcp, tls (until here the broker sees no client id), connect,
    /// subscribe, publish or round-trip
    #[arg(
        long,
        value_name = "STAGE",
        value_enum,
        hide_possible_values = true,
        default_value = "round-trip"
    )]
    pub until: Stage,
    /// AWS account to write into resource names
    #[arg(long, value_name = "ID", default_value = "ACCOUNT")]
    pub account: String,
    /// Seconds for each stage
    #[arg(short = 'W', long = "timeout", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// Print one JSON object per stage and one with the result
    #[arg(long)]
    pub json: bool,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

// Sequence number and nonce in text; what is left is padding.
pub(crate) const PING_HEADER: u32 = 32;

const OWN_ID: &str = "\
The client id is probe's own unless -i is given: a broker gives a client id to whoever came last,
so a check with the id of a running agent would throw that agent out. A policy that allows only the
agent's id then refuses CONNECT: end before it with --until tls, or stop the agent and repeat with -i.";

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and acknowledged by the broker
  1  tried and failed
  2  the command line or the configuration is wrong; nothing was tried
  3  the broker did not answer before the deadline
  4  the broker refused: certificate, policy or protocol";

/// Seconds with an optional fraction, from 1 ms to a week.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_string())?;
    if (0.001..=604_800.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be between 0.001 and 604800 seconds: there is always a deadline".into())
    }
}

#[cfg(test)]
mod tests;
