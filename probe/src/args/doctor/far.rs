//! What `probe doctor` asks beyond the broker: the region's API, and AWS.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use link::http::client::ApiFlags;

use crate::args::value::seconds;

/// Options of the stages from CONNECT on.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Beyond the broker")]
pub struct DoctorFarArgs {
    /// Use the client id of the agent or bridge even if it may be connected: whoever is connected with it is thrown out, and
    /// comes back some seconds later
    #[arg(long)]
    pub take_over: bool,
    /// Look as the bridge of this source; -i is its client id [default: NAME]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["consumer", "topic"])]
    pub source: Option<String>,
    /// Seconds to look for another process with the same client id
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub watch: Duration,
    /// A bundle (JSON) or manifests (JSON or YAML) to measure; it is not sent
    #[arg(long, value_name = "FILE")]
    pub payload: Option<PathBuf>,
    /// Secret behind the mount, by name or ARN: AWS is asked whether it exists and may be read
    #[arg(long, value_name = "NAME")]
    pub secret: Option<String>,
    /// Ask this address in place of AWS's own, such as the sandbox's control plane
    #[arg(long, value_name = "URL")]
    pub aws_endpoint: Option<String>,
    /// The region's API.
    #[command(flatten)]
    pub api: ApiFlags,
}

impl Default for DoctorFarArgs {
    fn default() -> Self {
        Self {
            take_over: false,
            source: None,
            watch: WATCH,
            payload: None,
            secret: None,
            aws_endpoint: None,
            api: ApiFlags::default(),
        }
    }
}

const WATCH: Duration = Duration::from_secs(2);
