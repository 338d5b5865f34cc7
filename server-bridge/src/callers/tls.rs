//! Server-side TLS: the server certificate and the CA of client certificates, both reloaded when their files change.
//!
//! **Invariant:** a client certificate leads to the given CA file, never to a system's root, and is for clients as webpki
//! decides (extended key usage `clientAuth`, or none at all).
//! **Invariant:** no session is resumed where client certificates count: a resumption would skip their check.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use link::clock::{Clock, rfc3339_seconds};
use link::error::chain;
use link::http::ServerTls;
use link::identity::Class;
use prometheus::IntCounter;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::cache::{CacheKey, key};

/// Which application protocol a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    /// `http/1.1`, as the REST API.
    Http1,
    /// `h2`, as gRPC.
    Http2,
}

/// A certificate file and its key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first, PEM.
    pub certificate: PathBuf,
    /// The leaf's private key, PEM.
    pub key: PathBuf,
}

/// A server certificate with its key.
#[derive(Debug)]
pub(super) struct Served {
    key: Arc<CertifiedKey>,
    /// Last second of its validity.
    pub(super) not_after: Timestamp,
}

/// The CA that client certificates come from.
pub(super) struct Anchors {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Of the file's content.
    pub(super) digest: CacheKey,
}

type Current<T> = watch::Receiver<Arc<T>>;

/// TLS with the certificate that is good at the moment of the handshake. `clients`: the CA of client certificates, and
/// whether nobody comes without one.
pub(super) fn server(
    served: Current<Served>,
    clients: Option<(Current<Anchors>, bool)>,
    alpn: Alpn,
    failed: IntCounter,
) -> Result<ServerTls, rustls::Error> {
    // TLS 1.2 and 1.3, the library's own choice of ciphers.
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let asks = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((anchors, mandatory)) => builder.with_client_cert_verifier(Arc::new(Clients {
            anchors,
            mandatory,
            schemes: provider()
                .signature_verification_algorithms
                .supported_schemes(),
        })),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificate(served)));
    config.alpn_protocols = vec![match alpn {
        Alpn::Http1 => b"http/1.1".to_vec(),
        Alpn::Http2 => b"h2".to_vec(),
    }];
    if asks {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(ServerTls::new(Arc::new(config), failed))
}

// === impl Served ===

impl Served {
    /// Out of the contents of a certificate file and a key file.
    pub(super) fn parse(contents: &[Vec<u8>], now: Timestamp) -> Result<Self, String> {
        let [certificate, key] = contents else {
            return Err("there must be a certificate and a key".into());
        };
        let chain = certificates(certificate)
            .map_err(|what| format!("the certificate file holds {what}"))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| format!("the key file holds no private key but: {}", Class::of(key)))?;
        let (not_before, not_after) = validity(&chain[0])?;
        if now < not_before {
            return Err(format!(
                "the certificate is not valid before {}",
                rfc3339_seconds(not_before)
            ));
        }
        if now >= not_after {
            return Err(format!(
                "the certificate expired {}",
                rfc3339_seconds(not_after)
            ));
        }
        let key = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| format!("the certificate and the key do not fit: {error}"))?;
        Ok(Self {
            key: Arc::new(key),
            not_after,
        })
    }
}

// === impl Anchors ===

impl Anchors {
    /// Out of the content of a CA file.
    pub(super) fn parse(contents: &[Vec<u8>]) -> Result<Self, String> {
        let pem = contents.first().map_or(&[][..], Vec::as_slice);
        let mut roots = RootCertStore::empty();
        for (index, der) in certificates(pem)
            .map_err(|what| format!("the CA file holds {what}"))?
            .into_iter()
            .enumerate()
        {
            roots.add(der).map_err(|error| {
                format!("certificate {} of the CA file is no CA: {error}", index + 1)
            })?;
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map(|verifier| Self {
                verifier,
                digest: key([pem]),
            })
            .map_err(|error| chain(&error))
    }

    /// Whether the certificate is one of this CA's, for clients, and valid at `now`.
    pub(super) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), rustls::Error> {
        let since = u64::try_from(now.as_second()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(since));
        let verified = self.verifier.verify_client_cert(leaf, intermediates, now);
        verified.map(|_| ())
    }
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anchors")
    }
}

/// Which certificate is shown.
#[derive(Debug)]
struct Certificate(Current<Served>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow().key))
    }
}

/// Who is let in: asks the CA of the moment.
#[derive(Debug)]
struct Clients {
    anchors: Current<Anchors>,
    mandatory: bool,
    schemes: Vec<SignatureScheme>,
}

impl Clients {
    fn now(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.anchors.borrow().verifier)
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    // None, because the CA may change; a client then shows what it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.now().verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Whether the certificate in use is expired now, and what that means.
pub(super) fn expired(served: &Served, clock: &Clock) -> Option<String> {
    (clock.now() >= served.not_after).then(|| {
        format!(
            "the server certificate expired {}; no caller accepts it",
            rfc3339_seconds(served.not_after)
        )
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        // The parser's own error quotes the file.
        _ => Err(format!("no certificate but: {}", Class::of(pem))),
    }
}

fn validity(der: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), String> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|_| "the certificate cannot be parsed".to_owned())?;
    let validity = certificate.validity();
    // "No expiry" is written as the last second of the year 9999.
    let at = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    Ok((
        at(validity.not_before.timestamp()),
        at(validity.not_after.timestamp()),
    ))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
