//! Certificates for keys that somebody else holds, from a signing request, as IoT Core makes them.

use jiff::Timestamp;
use link::error::Hint;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, IsCa, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, SerialNumber,
    SignatureAlgorithm,
};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Authority;

/// A signing request was refused.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// It is not PEM.
    #[error("read certificate signing request")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// It is not PKCS #10, its signature is not by its own key, or it asks for something that is not understood.
    #[error("verify certificate signing request")]
    Request(#[source] rcgen::Error),
    /// Its key is none that is taken here.
    #[error(
        "key of the certificate signing request is no RSA key of {RSA_BITS} bits or more and not on P-256 or P-384"
    )]
    Key,
    /// The certificate could not be made.
    #[error("sign certificate")]
    Sign(#[source] rcgen::Error),
}

/// A key of a signing request, with the algorithm by which certificates name it. The request's own signature says
/// nothing about that: it may be by SHA-256 with a key on P-384.
struct RequestedKey {
    point: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

// === impl Authority ===

impl Authority {
    /// A certificate in PEM for the key and the subject of a signing request in PEM, and no more: what else the
    /// request asks for is left out, as IoT Core does. Each call makes another certificate.
    ///
    /// # Errors
    /// When the request is malformed, not signed by its own key, or its key is neither RSA of 2 048 bits or
    /// more nor on P-256 or P-384 (API reference, CreateCertificateFromCsr). IoT Core takes P-521 too; the signature
    /// of such a request cannot be verified here.
    pub fn sign_request(
        &self,
        pem: &str,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<String, SigningError> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(SigningError::Pem)?;
        let request =
            CertificateSigningRequestParams::from_der(&der).map_err(SigningError::Request)?;
        let key = RequestedKey::of(&der).ok_or(SigningError::Key)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = request.params.distinguished_name;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(uuid::Uuid::new_v4().as_bytes()));
        params.not_before = std::time::SystemTime::from(not_before).into();
        params.not_after = std::time::SystemTime::from(not_after).into();
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(SigningError::Sign)?;
        Ok(certificate.pem())
    }
}

// === impl RequestedKey ===

impl RequestedKey {
    fn of(request: &[u8]) -> Option<Self> {
        let (_, request) = X509CertificationRequest::from_der(request).ok()?;
        let info = &request.certification_request_info.subject_pki;
        Some(Self {
            point: info.subject_public_key.data.to_vec(),
            algorithm: algorithm(info)?,
        })
    }
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

fn algorithm(info: &SubjectPublicKeyInfo<'_>) -> Option<&'static SignatureAlgorithm> {
    match info.parsed().ok()? {
        PublicKey::RSA(key) => (key.key_size() >= RSA_BITS).then_some(&PKCS_RSA_SHA256),
        PublicKey::EC(_) => {
            let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
            match curve.to_id_string().as_str() {
                "1.2.840.10045.3.1.7" => Some(&PKCS_ECDSA_P256_SHA256),
                "1.3.132.0.34" => Some(&PKCS_ECDSA_P384_SHA384),
                _ => None,
            }
        }
        _ => None,
    }
}

// === impl SigningError ===

impl Hint for SigningError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Pem(_) | Self::Request(_) => {
                Some("give a PKCS #10 request in PEM that its own key signed".into())
            }
            Self::Key => Some("make a key on P-256".into()),
            Self::Sign(_) => None,
        }
    }
}

const RSA_BITS: usize = 2048;

#[cfg(test)]
mod tests {
    use rcgen::{DnType, KeyPair, PKCS_ED25519, RsaKeySize};
    use rustls_pki_types::CertificateDer;
    use x509_parser::prelude::X509Certificate;

    use super::*;

    fn request(key: &KeyPair) -> String {
        let mut params = CertificateParams::new(vec!["asked.for".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "agent");
        params.serialize_request(key).unwrap().pem().unwrap()
    }

    fn sign(authority: &Authority, pem: &str) -> Result<Vec<u8>, SigningError> {
        let from = "2026-01-01T00:00:00Z".parse().unwrap();
        let to = "2049-12-31T23:59:59Z".parse().unwrap();
        let pem = authority.sign_request(pem, from, to)?;
        Ok(CertificateDer::from_pem_slice(pem.as_bytes())
            .unwrap()
            .to_vec())
    }

    #[test]
    fn a_certificate_is_for_the_key_and_the_subject_of_the_request_and_never_the_same_twice() {
        let authority = Authority::new("test").unwrap();
        for key in [
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
        ] {
            let pem = request(&key);
            let first = sign(&authority, &pem).unwrap();
            let (_, parsed) = X509Certificate::from_der(&first).unwrap();
            let info = parsed.public_key();
            assert_eq!(info.raw, key.subject_public_key_info());
            assert_eq!(parsed.subject().to_string(), "CN=agent");
            assert!(parsed.subject_alternative_name().unwrap().is_none());
            assert!(!parsed.is_ca());
            let end: Timestamp = "2049-12-31T23:59:59Z".parse().unwrap();
            assert_eq!(parsed.validity().not_after.timestamp(), end.as_second());
            let second = sign(&authority, &pem).unwrap();
            let (_, again) = X509Certificate::from_der(&second).unwrap();
            assert_ne!(parsed.serial, again.serial);
        }
    }

    #[test]
    fn a_request_that_is_malformed_or_forged_or_has_another_kind_of_key_is_refused() {
        let authority = Authority::new("test").unwrap();
        let good = request(&KeyPair::generate().unwrap());
        let mut der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes())
            .unwrap()
            .to_vec();
        // The common name, so that the signature no longer fits.
        let at = der.windows(5).position(|part| part == b"agent").unwrap();
        der[at] = b'A';
        let forged = CertificateSigningRequestParams::from_der(&der.into());
        assert!(forged.is_err());

        let refuse = |pem: &str| sign(&authority, pem).unwrap_err();
        assert!(matches!(refuse("nothing"), SigningError::Pem(_)));
        let cut = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";
        assert!(matches!(refuse(cut), SigningError::Request(_)));
        let edwards = request(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
        assert!(matches!(
            refuse(&edwards),
            SigningError::Key | SigningError::Request(_)
        ));
    }
}
