//! `probe ping` and `probe check`.

use std::time::Duration;

use clap::Args as ClapArgs;

use super::value::seconds;
use super::{ConnectionArgs, OutputArgs};
use crate::stage::Stage;

/// `probe ping`.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Round trips")]
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
    /// What is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `probe check`.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Check")]
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
    /// What is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Bytes of a ping's payload that tell it from others: sequence number and nonce in text. What is left is padding.
pub(crate) const PING_HEADER: u32 = 32;
