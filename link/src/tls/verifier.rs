//! The library's own certificate verifier, with one of two things done to its answer: an error that says whom the server's
//! chain leads to, or the dates left aside.
//!
//! **Invariant:** chain, name and signatures are always verified, by the library.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::problem::IssuerMismatch;
use crate::identity::subject_and_issuer;

/// Passes every question on to `inner`, and every answer back but those that `rule` is about.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    rule: Rule,
}

/// What is done to the answer about a server's certificate.
#[derive(Debug)]
pub(super) enum Rule {
    /// "Unknown issuer" gets the names of the chain and of the roots.
    NamesIssuer {
        roots: Vec<String>,
        ca_file: PathBuf,
    },
    /// Certificates are taken as of a time at which they are valid.
    DatesAside,
}

/// What a server showed, as the library asks about it.
struct Shown<'a> {
    end_entity: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp_response: &'a [u8],
}

type Answer = Result<ServerCertVerified, Error>;

// === impl Verifier ===

impl Verifier {
    pub(super) fn new(inner: Arc<WebPkiServerVerifier>, rule: Rule) -> Self {
        Self { inner, rule }
    }

    fn at(&self, shown: &Shown<'_>, now: UnixTime) -> Answer {
        self.inner.verify_server_cert(
            shown.end_entity,
            shown.intermediates,
            shown.name,
            shown.ocsp_response,
            now,
        )
    }

    fn dates_aside(&self, shown: &Shown<'_>, now: UnixTime) -> Answer {
        use CertificateError::{ExpiredContext, NotValidYetContext};
        let mut answer = self.at(shown, now);
        // Each certificate of the chain may move the time once.
        for _ in 0..=shown.intermediates.len() {
            answer = match answer {
                Err(Error::InvalidCertificate(ExpiredContext { not_after, .. })) => {
                    self.at(shown, not_after)
                }
                Err(Error::InvalidCertificate(NotValidYetContext { not_before, .. })) => {
                    self.at(shown, not_before)
                }
                other => return other,
            };
        }
        answer
    }
}

fn names_issuer(answer: Answer, shown: &Shown<'_>, roots: &[String], ca_file: &Path) -> Answer {
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    if answer.as_ref().err() != Some(&unknown) {
        return answer;
    }
    let Some((subject, issuer)) = subject_and_issuer(shown.end_entity) else {
        return answer;
    };
    // The chain's end is what a root would have to have signed; servers send it last.
    let seen = shown
        .intermediates
        .last()
        .and_then(subject_and_issuer)
        .map_or(issuer, |(_, issuer)| issuer);
    let mismatch = IssuerMismatch {
        server: subject,
        seen,
        given: roots.to_vec(),
        ca_file: ca_file.to_owned(),
    };
    let other = CertificateError::Other(OtherError(Arc::new(mismatch)));
    Err(Error::InvalidCertificate(other))
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
        let shown = Shown {
            end_entity,
            intermediates,
            name: server_name,
            ocsp_response,
        };
        match &self.rule {
            Rule::NamesIssuer { roots, ca_file } => {
                names_issuer(self.at(&shown, now), &shown, roots, ca_file)
            }
            Rule::DatesAside => self.dates_aside(&shown, now),
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
