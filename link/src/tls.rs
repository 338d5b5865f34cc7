//! TLS towards the broker: configurations made from an [`Identity`], and what a failed handshake means.
//!
//! The only roots are those of the CA file, verification is never off (docs/ARCHITECTURE.md, invariant E), the name of the
//! endpoint is always sent (docs/IOT-CORE.md §1.6). [`https_config`] is for calls over HTTP, which may trust the system's
//! roots.

mod https;
mod problem;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use self::verifier::{Rule, Verifier};
use crate::error::Hint;
use crate::identity::Identity;

pub use self::https::{HttpsError, HttpsFiles, https_config};
pub use self::problem::{IssuerMismatch, TlsProblem, diagnose};

/// How to speak TLS with the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The oldest version offered.
    pub min_version: MinVersion,
    /// The application protocol to ask for. Port 443 of IoT Core needs [`ALPN_MQTT`], port 8883 none
    /// (docs/IOT-CORE.md §1.6).
    pub alpn: Option<String>,
}

/// The oldest TLS version offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// Why no configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A CA certificate passed the identity's checks and still cannot be a root.
    #[error("use certificate {position} in CA file `{}` as a root", path.display())]
    Root {
        /// The CA file.
        path: PathBuf,
        /// Which one of the file, from 1.
        position: usize,
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
    /// No verifier could be built from the roots.
    #[error("build a verifier from CA file `{}`", path.display())]
    Verifier {
        /// The CA file.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: rustls::client::VerifierBuilderError,
    },
    /// The library refused certificate, key or versions.
    #[error("build a TLS configuration with certificate `{}`", path.display())]
    Configure {
        /// The certificate file.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
    /// The application protocol is empty or longer than 255 bytes (RFC 7301).
    #[error("application protocol of {length} bytes")]
    Alpn {
        /// Its length in bytes.
        length: usize,
    },
}

/// The application protocol of MQTT with X.509 on port 443 of IoT Core (docs/IOT-CORE.md §1.6).
pub const ALPN_MQTT: &str = "x-amzn-mqtt-ca";

/// Makes aws-lc-rs the process's provider. May be called more than once; `main` does it first, because two
/// providers in one process panic at first use.
pub fn install_provider() {
    // An error only says that there is one already.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// A client configuration that shows the identity's certificate and trusts its CA file and nothing else.
///
/// No session is resumed: IoT Core has no tickets, and a resumed session would keep an old certificate.
pub fn client_config(
    identity: &Identity,
    options: &TlsOptions,
) -> Result<Arc<ClientConfig>, TlsError> {
    let names_issuer = Rule::NamesIssuer {
        roots: identity.ca_subjects(),
        ca_file: identity.files().ca.clone(),
    };
    let versions = options.min_version.offered();
    configured(
        identity,
        versions,
        names_issuer,
        true,
        options.alpn.as_deref(),
    )
}

/// A client configuration for nothing but to read the server's clock: everything is verified as by [`client_config`] but the
/// dates of certificates, which a wrong clock here would make invalid. The identity's own certificate is shown only
/// `with_certificate`. No secret may be sent over such a connection.
///
/// # Errors
/// As [`client_config`].
pub fn clock_config(
    identity: &Identity,
    with_certificate: bool,
    alpn: Option<&str>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let versions = rustls::ALL_VERSIONS;
    configured(identity, versions, Rule::DatesAside, with_certificate, alpn)
}

fn configured(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    rule: Rule,
    with_certificate: bool,
    alpn: Option<&str>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(library_verifier(identity, &provider)?, rule);
    let configure = |source| TlsError::Configure {
        path: identity.files().certificate.clone(),
        source,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(configure)?
        // Not as dangerous as it is called: `Verifier` asks the library's own one.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = if with_certificate {
        let chain = identity.certificate_chain().to_vec();
        let config = builder.with_client_auth_cert(chain, identity.clone_key());
        config.map_err(configure)?
    } else {
        builder.with_no_client_auth()
    };
    config.enable_sni = true;
    config.resumption = Resumption::disabled();
    if let Some(alpn) = alpn {
        if alpn.is_empty() || alpn.len() > 255 {
            return Err(TlsError::Alpn { length: alpn.len() });
        }
        config.alpn_protocols = vec![alpn.into()];
    }
    Ok(Arc::new(config))
}

// === impl TlsOptions ===

impl TlsOptions {
    /// The options for a port of IoT Core: the application protocol on 443, none elsewhere.
    pub fn for_port(port: u16) -> Self {
        Self {
            alpn: (port == 443).then(|| ALPN_MQTT.to_owned()),
            ..Self::default()
        }
    }
}

// === impl MinVersion ===

impl MinVersion {
    fn offered(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13_ONLY,
        }
    }
}

// === impl TlsError ===

impl Hint for TlsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Root { .. } | Self::Verifier { .. } => {
                Some("put the root certificates of the broker there, unedited: for IoT Core Amazon Root CA 1 and 3".into())
            }
            Self::Configure { .. } => None,
            Self::Alpn { .. } => Some(format!("use `{ALPN_MQTT}` on port 443 and none on port 8883")),
        }
    }
}

// Trusts the CA file and nothing else.
fn library_verifier(
    identity: &Identity,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let ca = &identity.files().ca;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in identity.ca_certificates().iter().enumerate() {
        roots
            .add(certificate.clone())
            .map_err(|source| TlsError::Root {
                path: ca.clone(),
                position: index + 1,
                source,
            })?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|source| TlsError::Verifier {
            path: ca.clone(),
            source,
        })
}

static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&version::TLS13];

#[cfg(test)]
mod tests;
