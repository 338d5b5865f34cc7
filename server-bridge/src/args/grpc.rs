//! The flags of the gRPC endpoint; those that Maestro has too keep its names (docs/MAESTRO.md §5.7).

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Args};
use link::config::parse_duration;
use tokio::net::TcpListener;

use crate::api::{self, BindError};
use crate::grpc::{GrpcOptions, HEARTBEAT};

/// Where and how gRPC is offered.
#[derive(Clone, Debug, Args)]
pub struct GrpcFlags {
    /// Offer gRPC to sources, as Go clients of Maestro call it
    #[arg(
        long,
        env = "BRIDGE_ENABLE_GRPC_SERVER",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        value_name = "BOOL"
    )]
    pub enable_grpc_server: bool,
    /// Address of the gRPC endpoint for sources
    #[arg(
        long,
        env = "BRIDGE_GRPC_LISTEN",
        default_value = "127.0.0.1:8090",
        value_parser = link::listen::address,
        value_name = "IP:PORT"
    )]
    pub grpc_listen: SocketAddr,
    /// How long a stream of statuses may be silent: a heartbeat goes a fifth earlier. 10s at most, because Go clients
    /// connect again after 20s of silence
    #[arg(long, default_value = "10s", value_parser = heartbeat, value_name = "DURATION")]
    pub heartbeat_check_interval: Duration,
    /// How long a gRPC connection may last, up to a tenth less; its client connects again, maybe to another replica, and is
    /// told what it missed. `0` for as long as the client wants
    #[arg(long, default_value = "1h", value_parser = age, value_name = "DURATION")]
    pub grpc_max_connection_age: Duration,
    /// Tell gRPC clients which services there are, for tools such as grpcurl
    #[arg(long)]
    pub grpc_reflection: bool,
}

// === impl GrpcFlags ===

impl GrpcFlags {
    /// The socket, if gRPC is offered.
    ///
    /// # Errors
    /// [`BindError`] names the address.
    pub async fn bind(&self) -> Result<Option<TcpListener>, BindError> {
        if !self.enable_grpc_server {
            return Ok(None);
        }
        api::bind(self.grpc_listen, api::GRPC).await.map(Some)
    }

    /// How it is offered.
    pub fn options(&self) -> GrpcOptions {
        GrpcOptions {
            heartbeat: self.heartbeat_check_interval,
            max_connection_age: Some(self.grpc_max_connection_age).filter(|age| !age.is_zero()),
            reflection: self.grpc_reflection,
        }
    }
}

fn heartbeat(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(interval) if (LEAST..=HEARTBEAT).contains(&interval) => Ok(interval),
        _ => Err("not a duration from `100ms` to `10s`".into()),
    }
}

fn age(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(age) if age.is_zero() || age >= YOUNGEST => Ok(age),
        _ => Err("not a duration from `1s` such as `1h`, or `0`".into()),
    }
}

const LEAST: Duration = Duration::from_millis(100);
const YOUNGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    fn flags(args: &[&str]) -> Result<GrpcFlags, String> {
        let args = ["server-bridge"].iter().chain(args);
        let args = Args::try_parse_from(args).map_err(|error| error.to_string())?;
        Ok(args.grpc)
    }

    #[test]
    fn heartbeats_and_ages_are_taken_at_their_limits_and_refused_one_past() {
        let options = |args: &[&str]| flags(args).map(|flags| flags.options());
        assert_eq!(options(&[]), Ok(GrpcOptions::default()));
        assert!(options(&["--heartbeat-check-interval=100ms"]).is_ok());
        assert!(options(&["--heartbeat-check-interval=99ms"]).is_err());
        assert!(options(&["--heartbeat-check-interval=10001ms"]).is_err());
        let ageless = options(&["--grpc-max-connection-age=0"]).unwrap();
        assert_eq!(ageless.max_connection_age, None);
        assert!(options(&["--grpc-max-connection-age=1s"]).is_ok());
        assert!(options(&["--grpc-max-connection-age=999ms"]).is_err());
    }

    #[test]
    fn grpc_is_offered_unless_it_is_switched_off_as_go_writes_it() {
        let enabled = |args: &[&str]| flags(args).map(|flags| flags.enable_grpc_server);
        assert_eq!(enabled(&[]), Ok(true));
        assert_eq!(enabled(&["--enable-grpc-server"]), Ok(true));
        assert_eq!(enabled(&["--enable-grpc-server=true"]), Ok(true));
        assert_eq!(enabled(&["--enable-grpc-server=false"]), Ok(false));
    }
}
