//! What the user typed, unresolved: no file is read and no name is looked up here.
//!
//! Letters keep mosquitto's meaning, so `-h` is the host and help is `--help`; only `probe -h` is help too. What
//! mosquitto's clients take and this one does not is refused by name ([`refused`]).

mod bench;
mod connection;
mod diagnose;
mod doctor;
mod publish;
pub mod refused;
mod session;
mod subscribe;
mod value;
mod watch;

use clap::{Parser, Subcommand};

#[cfg(test)]
pub(crate) use self::bench::BENCH_HEADER;
pub use self::bench::BenchArgs;
pub(crate) use self::bench::MOST_RATE;
pub use self::connection::{ConnectionArgs, OutputArgs};
#[cfg(test)]
pub(crate) use self::diagnose::PING_HEADER;
pub use self::diagnose::{CheckArgs, PingArgs};
pub use self::doctor::{DoctorArgs, DoctorFarArgs};
pub use self::publish::PublishArgs;
pub use self::session::SessionArgs;
pub use self::subscribe::SubscribeArgs;
pub use self::value::{ProtocolVersion, SessionExpiry, TlsVersion, UrlText};
pub use self::watch::{PresenceFilter, SortKey, WatchArgs};

/// Publishes, listens, measures and diagnoses over MQTT 5 with mutual TLS
#[derive(Clone, Debug, Parser)]
#[command(
    name = "probe",
    version = link::cli::version(),
    propagate_version = true,
    disable_help_flag = true,
    disable_version_flag = true,
    after_help = EXIT_CODES
)]
pub struct Args {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help, global = true, help_heading = "Help")]
    help: Option<bool>,
    /// Print help, where no host can be meant
    #[arg(short = 'h', action = clap::ArgAction::Help, hide = true)]
    short_help: Option<bool>,
    /// Print the version
    #[arg(long, action = clap::ArgAction::Version, global = true, help_heading = "Help")]
    version: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Verb,
}

/// One of the things that probe does.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Publish messages and wait until the broker has acknowledged each of them
    #[command(visible_alias = "pub", after_help = format!("{NOT_TAKEN}\n\n{EXIT_CODES}"))]
    Publish(Box<PublishArgs>),
    /// Show the messages that arrive, events and bundles readably
    #[command(visible_alias = "sub", after_help = format!("{NOT_TAKEN}\n\n{EXIT_CODES}"))]
    Subscribe(Box<SubscribeArgs>),
    /// Measure the round trip through the broker
    #[command(visible_alias = "rtt", after_help = EXIT_CODES)]
    Ping(Box<PingArgs>),
    /// Find out at which stage a connection fails, and why
    #[command(after_help = format!("{OWN_ID}\n\n{EXIT_CODES}"))]
    Check(Box<CheckArgs>),
    /// Find out which hop is broken, why, and what to do: files, clock, network, TLS, MQTT, policy, and the other end
    #[command(after_help = format!("{OWN_ID}\n\n{DOCTOR_EXIT_CODES}"))]
    Doctor(Box<DoctorArgs>),
    /// Measure what a broker takes and how fast it passes messages on
    #[command(after_help = format!("{BENCH_LIMITS}\n\n{EXIT_CODES}"))]
    Bench(Box<BenchArgs>),
    /// Show a region live: clusters, what waits at which hop, and why bundles are stuck
    #[command(after_help = EXIT_CODES)]
    Watch(Box<WatchArgs>),
}

// === impl Verb ===

impl Verb {
    /// How to reach the broker, of those that do.
    pub fn connection(&self) -> Option<&ConnectionArgs> {
        match self {
            Self::Publish(args) => Some(&args.connection),
            Self::Subscribe(args) => Some(&args.connection),
            Self::Ping(args) => Some(&args.connection),
            Self::Check(args) => Some(&args.connection),
            Self::Bench(args) => Some(&args.connection),
            Self::Watch(_) => None,
            Self::Doctor(args) => Some(&args.connection),
        }
    }

    /// What is printed.
    pub fn output(&self) -> OutputArgs {
        match self {
            Self::Publish(args) => args.output,
            Self::Subscribe(args) => args.output,
            Self::Ping(args) => args.output,
            Self::Check(args) => args.output,
            Self::Doctor(args) => args.output,
            Self::Bench(args) => args.output,
            Self::Watch(args) => args.output,
        }
    }
}

const NOT_TAKEN: &str = "\
Options of mosquitto's clients keep their meaning. Not taken, each with a word on what to do instead:
-u -P -A -S -U, --insecure --ciphers --proxy --ws --unix --psk --tls-engine --tls-use-os-certs --random-filter";

const OWN_ID: &str = "\
The client id is probe's own unless -i is given: a broker gives a client id to whoever came last,
so a check with the id of a running agent would throw that agent out. A policy that allows only the
agent's id then refuses CONNECT: end before it with --until tls, or stop the agent and repeat with -i.";

const BENCH_LIMITS: &str = "\
At most 1000 connections, 5000 messages and 64 MiB a second, 2000000 messages in all. Times are
from when a message was due. Real IoT Core charges for each message and is refused without
--accept-aws-charges.";

const DOCTOR_EXIT_CODES: &str = "\
Exit codes:
  0  nothing is wrong as far as was looked
  1  there is a warning or an error
  2  the command line is wrong; nothing was tried";

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and acknowledged by the broker
  1  tried and failed
  2  the command line or the configuration is wrong; nothing was tried
  3  the broker did not answer before the deadline
  4  the broker refused: certificate, policy or protocol";

#[cfg(test)]
mod tests;
