//! The options that every command shares: where the broker is, who we are to it, and what is printed.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::refused::RefusedArgs;
use super::value::{
    ProtocolVersion, TlsVersion, UrlText, alpn, host, keep_alive, port, protocol_version,
    tls_version, url,
};

/// How to reach the broker. Flags win over the environment, that over `--config`, that over the mount's
/// `config.yaml`.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Host name of the broker
    #[arg(short = 'h', long, value_parser = host)]
    pub host: Option<String>,
    /// Port of the broker [default: 8883]
    #[arg(short, long, value_parser = port)]
    pub port: Option<u16>,
    /// `mqtts://HOST[:PORT]/TOPIC`, in place of -h, -p and -t
    #[arg(short = 'L', long, value_name = "URL", value_parser = url, conflicts_with_all = ["host", "port"])]
    pub url: Option<UrlText>,
    /// Upstream's config.yaml, for host, files and topics
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Client id [default: probe-<8 random characters>]; the id of a running client throws that client out
    #[arg(short = 'i', long, value_name = "ID")]
    pub id: Option<String>,
    /// Client id that begins with this and ends with the number of the process
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id")]
    pub id_prefix: Option<String>,
    /// Keep-alive in seconds, 30 to 1200 [default: 60]
    #[arg(short, long, value_name = "SECONDS", value_parser = keep_alive)]
    pub keepalive: Option<u16>,
    /// Only `mqttv5` (or `5`)
    #[arg(short = 'V', long, value_name = "VERSION", value_parser = protocol_version)]
    pub protocol_version: Option<ProtocolVersion>,
    /// Send small packets at once: always so
    #[arg(long, hide = true)]
    pub nodelay: bool,
    /// Directory with `certificate`, `privateKey` and `ca.crt` (or `tls.crt`, `tls.key`), as the CSI driver mounts it
    #[arg(long, visible_alias = "mount", value_name = "DIR", conflicts_with_all = ["cafile", "capath", "cert", "key"], help_heading = TLS)]
    pub identity: Option<PathBuf>,
    /// CA of the broker's certificate, PEM
    #[arg(long, value_name = "FILE", help_heading = TLS)]
    pub cafile: Option<PathBuf>,
    /// Directory of such CAs, all its `.crt` and `.pem` files
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "cafile",
        help_heading = TLS
    )]
    pub capath: Option<PathBuf>,
    /// Client certificate with its chain, PEM
    #[arg(long, value_name = "FILE", requires = "key", help_heading = TLS)]
    pub cert: Option<PathBuf>,
    /// Private key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = TLS)]
    pub key: Option<PathBuf>,
    /// Oldest version to offer: `tlsv1.2` or `tlsv1.3` [default: tlsv1.2]
    #[arg(long, value_name = "VERSION", value_parser = tls_version, help_heading = TLS)]
    pub tls_version: Option<TlsVersion>,
    /// Application protocol to ask for [default: `x-amzn-mqtt-ca` on port 443, else none]
    #[arg(long, value_name = "PROTOCOL", value_parser = alpn, help_heading = TLS)]
    pub tls_alpn: Option<String>,
    /// Options of mosquitto's clients that are not taken.
    #[command(flatten)]
    pub refused: RefusedArgs,
}

/// What is printed, and how.
#[derive(Clone, Copy, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print one JSON object per line, for scripts
    #[arg(long)]
    pub json: bool,
    /// Print neither notes nor errors of the run: only the exit code tells
    #[arg(long)]
    pub quiet: bool,
    /// Say on standard error what is sent and received
    #[arg(short, long, conflicts_with = "quiet")]
    pub debug: bool,
}

const TLS: &str = "TLS";
