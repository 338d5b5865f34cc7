//! The library's own certificate verifier, with an error that says whom the server's chain leads to.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::problem::IssuerMismatch;
use crate::identity::subject_and_issuer;

/// Passes every question on to `inner`, and every answer back except "unknown issuer", to which it adds names.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    roots: Vec<String>,
    ca_file: PathBuf,
}

// === impl Verifier ===

impl Verifier {
    pub(super) fn new(
        inner: Arc<WebPkiServerVerifier>,
        roots: Vec<String>,
        ca_file: PathBuf,
    ) -> Self {
        Self {
            inner,
            roots,
            ca_file,
        }
    }

    fn mismatch(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Option<IssuerMismatch> {
        let (subject, issuer) = subject_and_issuer(end_entity)?;
        // The chain's end is what a root would have to have signed; servers send it last.
        let seen = intermediates
            .last()
            .and_then(subject_and_issuer)
            .map_or(issuer, |(_, issuer)| issuer);
        Some(IssuerMismatch {
            server: subject,
            seen,
            given: self.roots.clone(),
            ca_file: self.ca_file.clone(),
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                let error = match self.mismatch(end_entity, intermediates) {
                    Some(mismatch) => CertificateError::Other(OtherError(Arc::new(mismatch))),
                    None => CertificateError::UnknownIssuer,
                };
                Err(Error::InvalidCertificate(error))
            }
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
