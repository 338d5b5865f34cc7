//! `probe bench`.

use std::time::Duration;

use clap::Args as ClapArgs;

use super::value::{delay, seconds};
use super::{ConnectionArgs, OutputArgs};

/// `probe bench`.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Load")]
pub struct BenchArgs {
    /// Connections, each with a topic of its own, test/probe/bench/RUN/NUMBER
    #[arg(short = 'c', long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_CONNECTIONS)))]
    pub connections: u16,
    /// Messages a second, of all connections together
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_RATE)))]
    pub rate: u32,
    /// Payload bytes of each message
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(i64::from(BENCH_HEADER)..=link::iot::limits::PAYLOAD_BYTES as i64))]
    pub size: u32,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,
    /// Seconds of the same load before, which are not counted
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = delay)]
    pub warm_up: Duration,
    /// Seconds to connect, and after the end to send what is late and wait for the last answers
    #[arg(short = 'W', long = "timeout", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// Load AWS IoT Core, which charges for each message; the estimate is printed first
    #[arg(long)]
    pub accept_aws_charges: bool,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Connections at once: a file descriptor and about 100 KiB each, on both sides.
pub(crate) const MOST_CONNECTIONS: u16 = 1000;

/// Messages a second: what one broker on two cores takes; a quarter of what a large AWS account takes.
pub(crate) const MOST_RATE: u32 = 5000;

/// Bytes of a payload that tell it from others: run, connection and number in text. What is left is padding.
pub(crate) const BENCH_HEADER: u32 = 32;
