//! `probe doctor`.

mod far;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::value::{port, seconds};
use super::{ConnectionArgs, OutputArgs};
use crate::stage::Stage;

pub use self::far::DoctorFarArgs;

/// `probe doctor`.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Doctor")]
pub struct DoctorArgs {
    /// Topic of the round trip [default: test/probe/CLIENT-ID]
    #[arg(short, long, conflicts_with = "consumer")]
    pub topic: Option<String>,
    /// Look at the topics of this consumer's agent, and say what its policy needs [default: the mount's `consumerName`]
    #[arg(long, value_name = "NAME")]
    pub consumer: Option<String>,
    /// Only check this file, before anything runs: region.yaml, values of the charts, an IoT policy or a config.yaml, told by its
    /// content; may be given up to 64 times, for files that belong together. Nothing is dialled
    #[arg(long = "static", value_name = "FILE", conflicts_with_all = ["topic", "until", "account", "alpn_port", "bundle", "take_over", "watch", "payload", "secret", "aws_endpoint", "host", "port", "url", "config", "id_prefix", "identity", "cafile", "capath", "cert", "key"])]
    pub static_files: Vec<PathBuf>,
    /// Look no further than this stage: files, dns, tcp, tls (until here the broker sees no client id), connect, subscribe,
    /// publish or round-trip
    #[arg(long, value_name = "STAGE", value_enum, hide_possible_values = true)]
    pub until: Option<Stage>,
    /// AWS account to write into resource names
    #[arg(long, value_name = "ID", default_value = "ACCOUNT")]
    pub account: String,
    /// Port that takes MQTT and HTTPS by application protocol, tried when the other one does not answer, and for the clock
    #[arg(long, value_name = "PORT", default_value = "443", value_parser = port)]
    pub alpn_port: u16,
    /// Seconds for everything together; with more than twenty most answers may take longer too, up to three times
    #[arg(short = 'W', long = "timeout", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// Also write an archive (tar) for whoever helps: report, configuration, certificate descriptions, facts of the machine,
    /// without secrets
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// What is asked beyond the broker.
    #[command(flatten)]
    pub far: DoctorFarArgs,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}
