//! TLS of a client over HTTP: the system's authorities or those of a file, with a client certificate or without.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Hint;
use crate::file::{self, ReadError};

/// Where roots, certificate and key are. Nothing given means the system's roots and no certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpsFiles {
    /// The only roots, PEM.
    pub ca: Option<PathBuf>,
    /// Client certificate with its chain, and its key, PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Why no configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// A file could not be read.
    #[error("`{}`", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// A file holds no PEM of the kind wanted. What the parser says is left out: it quotes the file.
    #[error("`{}` holds no {wanted} in PEM that can be read", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// The system has no authorities.
    #[error("the system trusts no certificate authority")]
    NoSystemRoots,
    /// The library refused certificate and key.
    #[error("use the client certificate `{}`", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
    /// The library has no version in common with itself.
    #[error("make a TLS configuration")]
    Versions(#[source] rustls::Error),
}

/// A configuration for HTTP/1.1 that verifies the server; reads all files now.
///
/// # Errors
/// [`HttpsError`] names the file.
pub fn https_config(files: &HttpsFiles) -> Result<Arc<ClientConfig>, HttpsError> {
    let roots = match &files.ca {
        Some(path) => roots_of(path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(HttpsError::Versions)?
        .with_root_certificates(roots);
    let mut config = match &files.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let private = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|_| content(key, "private key"))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|source| HttpsError::Certificate {
                    path: certificate.clone(),
                    source,
                })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

// === impl HttpsError ===

impl Hint for HttpsError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "check the path and that this user may read it".into(),
            Self::Content { .. } => "put the whole PEM there, with its BEGIN and END lines".into(),
            Self::NoSystemRoots => {
                "install the system's `ca-certificates`, set SSL_CERT_FILE, or name a CA file"
                    .into()
            }
            Self::Certificate { .. } => "check that certificate and key belong together".into(),
            Self::Versions(_) => return None,
        })
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore, HttpsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|_| content(path, "certificate of an authority"))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, HttpsError> {
    let mut roots = RootCertStore::empty();
    // Single ones that cannot be read are the system's affair: what they signed is not trusted then.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err(HttpsError::NoSystemRoots),
        false => Ok(roots),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpsError> {
    let found = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| content(path, "certificate"))?;
    match found.is_empty() {
        true => Err(content(path, "certificate")),
        false => Ok(found),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, HttpsError> {
    file::read(path, MAX_BYTES).map_err(|source| HttpsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn content(path: &Path, wanted: &'static str) -> HttpsError {
    HttpsError::Content {
        path: path.to_owned(),
        wanted,
    }
}

// A bundle of all public authorities is 250 KiB.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
