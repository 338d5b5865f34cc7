//! Key pairs, signing requests and certificates, as far as an identity needs them: made, taken apart and compared.
//!
//! Pure, besides the randomness of a new key.

use std::fmt;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, KeyPair,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// A private key as PEM. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PrivateKey(String);

/// A public key: its SubjectPublicKeyInfo as DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey(Vec<u8>);

/// A certificate, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The certificate itself.
    pub(crate) der: Vec<u8>,
    /// Whose certificate it is.
    pub(crate) public: PublicKey,
    /// Seconds since 1970 after which it is not valid.
    pub(crate) not_after: i64,
    /// Common name of its subject.
    pub(crate) subject: Option<String>,
}

/// Why a key, request or certificate cannot be used. Never holds any of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key could be made.
    #[error("a key pair could not be made")]
    Make,
    /// A private key is no PEM of a known kind.
    #[error("the private key cannot be read")]
    PrivateKey,
    /// A signing request is no PEM, or has parts that none of ours has.
    #[error("the signing request cannot be read")]
    Request,
    /// A signing request that its own key did not sign.
    #[error("the signing request is not signed by its own key")]
    Signature,
    /// A signing request for a kind of key that none of ours has.
    #[error("the signing request is for another kind of key than EC P-256")]
    Kind,
    /// A signing request for another subject.
    #[error("the signing request is for subject `{found}` instead of `CN={expected}`")]
    Subject {
        /// What it says.
        found: String,
        /// The expected common name.
        expected: String,
    },
    /// A certificate is no PEM, or no certificate.
    #[error("the certificate cannot be read")]
    Certificate,
}

/// Makes a key pair on P-256 and a signing request of it. IoT Core takes RSA and P-256 and P-384; P-256 is the
/// cheapest for both ends (docs/IOT-CORE.md §1.6).
pub(crate) fn make(subject: &str) -> Result<(PrivateKey, String), KeyError> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| KeyError::Make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    let request = params
        .serialize_request(&pair)
        .and_then(|request| request.pem())
        .map_err(|_| KeyError::Make)?;
    Ok((PrivateKey(pair.serialize_pem()), request))
}

/// Takes a signing request apart and checks that it is one of ours: signed by its own key, of our kind, for `subject`.
pub(crate) fn check_request(pem: &str, subject: &str) -> Result<PublicKey, KeyError> {
    let checked = CertificateSigningRequestParams::from_pem(pem).map_err(|error| match error {
        rcgen::Error::InvalidCertificationRequestSignature => KeyError::Signature,
        _ => KeyError::Request,
    })?;
    if checked.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(KeyError::Kind);
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| KeyError::Request)?;
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|_| KeyError::Request)?;
    let info = &request.certification_request_info;
    let found = info.subject.to_string();
    if found != format!("CN={subject}") {
        return Err(KeyError::Subject {
            found,
            expected: subject.to_owned(),
        });
    }
    Ok(PublicKey(info.subject_pki.raw.to_vec()))
}

/// Takes the first certificate of a PEM text apart.
pub(crate) fn leaf(pem: &str) -> Result<Leaf, KeyError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Certificate)?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| KeyError::Certificate)?;
    let public = PublicKey(certificate.public_key().raw.to_vec());
    let not_after = certificate.validity().not_after.timestamp();
    let mut names = certificate.subject().iter_common_name();
    let subject = names.next().and_then(|name| name.as_str().ok());
    let subject = subject.map(str::to_owned);
    Ok(Leaf {
        der: der.to_vec(),
        public,
        not_after,
        subject,
    })
}

// === impl PrivateKey ===

impl PrivateKey {
    pub(crate) fn new(pem: impl Into<String>) -> Self {
        Self(pem.into())
    }

    /// The PEM text; for a request to Secrets Manager and a TLS configuration only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn public(&self) -> Result<PublicKey, KeyError> {
        let pair = KeyPair::from_pem(&self.0).map_err(|_| KeyError::PrivateKey)?;
        Ok(PublicKey(pair.subject_public_key_info()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(...)")
    }
}

// === impl Leaf ===

impl Leaf {
    /// The id IoT Core gives it: SHA-256 over the DER, in hexadecimal. From memory and not from a document
    /// (docs/IOT-CORE.md §7), so whoever looks a certificate up by it compares what it finds.
    pub(crate) fn likely_id(&self) -> String {
        hex(&Sha256::digest(&self.der))
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::Issuer;

    use super::*;

    /// A certificate of the request's key, as IoT Core would issue it.
    pub(crate) fn certificate(request: &str) -> String {
        let pair = KeyPair::generate().unwrap();
        let issuer = Issuer::new(CertificateParams::default(), pair);
        let request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.signed_by(&issuer).unwrap().pem()
    }

    #[test]
    fn key_request_and_certificate_share_a_public_key() {
        let (key, request) = make("a-maestro-agent").unwrap();
        let public = key.public().unwrap();
        assert_eq!(
            check_request(&request, "a-maestro-agent"),
            Ok(public.clone())
        );
        assert_eq!(leaf(&certificate(&request)).unwrap().public, public);
    }

    #[test]
    fn a_request_for_another_subject_is_refused() {
        let (_, request) = make("b-maestro-agent").unwrap();
        let error = check_request(&request, "a-maestro-agent").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the signing request is for subject `CN=b-maestro-agent` instead of `CN=a-maestro-agent`"
        );
    }

    #[test]
    fn a_request_that_was_tampered_with_is_refused() {
        let (_, request) = make("a-maestro-agent").unwrap();
        // The last 32 bytes are the second half of the signature, whatever its encoding.
        let at = request.find("\n-----END").unwrap() - 24;
        let other = if request.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        let request = format!("{}{other}{}", &request[..at], &request[at + 1..]);
        assert_eq!(
            check_request(&request, "a-maestro-agent"),
            Err(KeyError::Signature)
        );
    }

    #[test]
    fn a_key_is_hidden_from_debug_output() {
        let (key, _) = make("a").unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(...)");
    }
}
