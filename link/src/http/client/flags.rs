//! The options of every verb that calls the region's API.

use std::path::PathBuf;

use super::{ApiClient, ApiError, HttpAddress, HttpClient};
use crate::tls::HttpsFiles;

/// Where the API is and who calls, to flatten into a verb's arguments. A token is never on the command line, which
/// everybody on the machine reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Region's API")]
pub struct ApiFlags {
    /// Address of the server's REST API, `https://HOST[:PORT]` or on this machine `http://…`
    /// [default: http://127.0.0.1:8000]
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// File with the bearer token to show; read again for each call
    #[arg(long, value_name = "FILE")]
    pub api_token_file: Option<PathBuf>,
    /// CA of the API's certificate, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub api_ca: Option<PathBuf>,
    /// Client certificate to show, with its chain, PEM
    #[arg(long, value_name = "FILE", requires = "api_key")]
    pub api_cert: Option<PathBuf>,
    /// Private key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "api_cert")]
    pub api_key: Option<PathBuf>,
    /// Take `http://` to another machine too: what is sent, the token too, is readable on the way
    #[arg(long)]
    pub insecure_api_http: bool,
}

// === impl ApiFlags ===

impl ApiFlags {
    /// Whether an API was named.
    pub fn is_given(&self) -> bool {
        self.api.is_some()
    }

    /// The client; without `--api` that of a server on this machine with its usual port, [`LOCAL_API`].
    ///
    /// # Errors
    /// The address, or a file that cannot be used.
    pub fn client(&self) -> Result<ApiClient, ApiError> {
        let text = self.api.as_deref().unwrap_or(LOCAL_API);
        let address = match self.insecure_api_http {
            true => HttpAddress::parse_insecure(text),
            false => HttpAddress::parse(text),
        }
        .map_err(ApiError::Address)?;
        let files = HttpsFiles {
            ca: self.api_ca.clone(),
            certificate: self.api_cert.clone().zip(self.api_key.clone()),
        };
        let http = HttpClient::new(address, files).map_err(ApiError::Http)?;
        Ok(ApiClient::new(http, self.api_token_file.clone()))
    }
}

/// Where a bridge listens unless it was told otherwise (docs/CONFIGURATION.md).
pub const LOCAL_API: &str = "http://127.0.0.1:8000";
