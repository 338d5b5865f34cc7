//! Verifies a server's chain and name, and leaves the dates aside.
//!
//! Used for nothing but to read the server's clock: no secret is sent over such a connection.

use std::sync::Arc;

use link::identity::Identity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// A configuration that trusts the CA of the identity and shows its certificate only if asked to; `None` when the library does
/// not take one of them.
pub(super) fn config(
    identity: &Identity,
    with_certificate: bool,
    alpn: Option<&str>,
) -> Option<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(identity.ca_certificates().iter().cloned());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .ok()?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .ok()?
        // Not as dangerous as it is called: everything but the dates is verified.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(DatesAside(inner)));
    let mut config = if with_certificate {
        let chain = identity.certificate_chain().to_vec();
        builder
            .with_client_auth_cert(chain, identity.clone_key())
            .ok()?
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = alpn.into_iter().map(Into::into).collect();
    config.resumption = Resumption::disabled();
    Some(Arc::new(config))
}

#[derive(Debug)]
struct DatesAside(Arc<WebPkiServerVerifier>);

// === impl DatesAside ===

impl ServerCertVerifier for DatesAside {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let at = |now| {
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let mut answer = at(now);
        // Each certificate of the chain may move the time once.
        for _ in 0..=intermediates.len() {
            answer = match answer {
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                    not_after,
                    ..
                })) => at(not_after),
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) => at(not_before),
                other => return other,
            };
        }
        answer
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
