//! The options of every verb that calls the region's API.

use std::path::PathBuf;

use super::{ApiClient, ApiError, HttpAddress, HttpAddressError, HttpClient};
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
    #[arg(long, value_name = "FILE", requires = "api")]
    pub api_ca: Option<PathBuf>,
    /// Client certificate to show, with its chain, PEM
    #[arg(long, value_name = "FILE", requires = "api_key", requires = "api")]
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
    /// The address, an option that it leaves without a meaning, or a file that cannot be used.
    pub fn client(&self) -> Result<ApiClient, ApiError> {
        let address = self.address().map_err(ApiError::Address)?;
        self.check()?;
        let files = HttpsFiles {
            ca: self.api_ca.clone(),
            certificate: self.api_cert.clone().zip(self.api_key.clone()),
        };
        let http = HttpClient::new(address, files).map_err(ApiError::Http)?;
        Ok(ApiClient::new(http, self.api_token_file.clone()))
    }

    /// Whether each option has a meaning beside the address, for commands that go on without the API when it cannot be
    /// used. An address that is none is not judged.
    ///
    /// # Errors
    /// [`ApiError::WithoutTls`]: whoever names a CA or a certificate expects that the server is verified, or that it knows
    /// the caller.
    pub fn check(&self) -> Result<(), ApiError> {
        let files = [
            ("--api-ca", &self.api_ca),
            ("--api-cert", &self.api_cert),
            ("--api-key", &self.api_key),
        ];
        let given = files.into_iter().find(|(_, file)| file.is_some());
        match (self.address(), given) {
            (Ok(address), Some((option, _))) if !address.is_tls() => {
                Err(ApiError::WithoutTls { option, address })
            }
            _ => Ok(()),
        }
    }

    fn address(&self) -> Result<HttpAddress, HttpAddressError> {
        let text = self.api.as_deref().unwrap_or(LOCAL_API);
        match self.insecure_api_http {
            true => HttpAddress::parse_insecure(text),
            false => HttpAddress::parse(text),
        }
    }
}

/// Where a bridge listens unless it was told otherwise (docs/CONFIGURATION.md).
pub const LOCAL_API: &str = "http://127.0.0.1:8000";
