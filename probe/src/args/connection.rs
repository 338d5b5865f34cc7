//! The options that every command shares: where the broker is and who we are to it.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// How to reach the broker. Flags win over the environment, that over `--config`, that over the mount's
/// `config.yaml`.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Host name of the broker
    #[arg(short = 'h', long, value_parser = host)]
    pub host: Option<String>,
    /// Port of the broker [default: 8883]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Directory with `certificate`, `privateKey` and `ca.crt` (or `tls.crt`, `tls.key`), as the CSI driver mounts it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["cafile", "cert", "key"])]
    pub identity: Option<PathBuf>,
    /// CA of the broker's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub cafile: Option<PathBuf>,
    /// Client certificate with its chain, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Upstream's config.yaml, for host, files and topics
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Client id [default: probe-<8 random characters>]; the id of a running client throws that client out
    #[arg(short = 'i', long, value_name = "ID")]
    pub id: Option<String>,
    /// Keep-alive in seconds, 30 to 1200 [default: 60]
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(30..=1200))]
    pub keepalive: Option<u16>,
    /// Only `mqttv5` (or `5`)
    #[arg(short = 'V', long, value_name = "VERSION", value_parser = protocol_version)]
    pub protocol_version: Option<ProtocolVersion>,
    /// 0 or 1; 0 is sent as 1 too, because nothing acknowledges 0 [default: 1]
    #[arg(short, long, value_name = "QOS", value_parser = quality)]
    pub qos: Option<u8>,
}

/// The one protocol version there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersion;

fn protocol_version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "5" | "mqttv5" => Ok(ProtocolVersion),
        "31" | "311" | "mqttv31" | "mqttv311" => Err(
            "probe speaks MQTT 5 only; use `mosquitto_pub -V mqttv311` for the older protocol"
                .into(),
        ),
        _ => Err("not a protocol version; only `mqttv5` (or `5`) is".into()),
    }
}

fn quality(text: &str) -> Result<u8, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "2" => Err("AWS IoT Core has no QoS 2 and never answers it; use 1".into()),
        _ => Err("not a quality of service; 0 and 1 are".into()),
    }
}

fn host(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("give the host name without `{scheme}://`"));
    }
    if text.contains(['/', ' ']) {
        return Err("is not a host name".into());
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(bare.to_string());
    }
    if let Some((name, port)) = text.split_once(':') {
        return Err(format!("give the port on its own: `-h {name} -p {port}`"));
    }
    Ok(text.to_string())
}
