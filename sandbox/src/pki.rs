//! A throw-away certificate authority, and the two ways a CSI driver writes an identity into a mounted directory.
//!
//! For tests and the sandbox only: keys live in memory and in the directories they are written to.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use link::clock::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize,
};

pub use self::mount::{Layout, WriteMountError, write_mount};
pub use self::persist::PersistError;
pub use self::sign::SigningError;

mod mount;
mod persist;
mod sign;

/// A certificate authority.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    key_pem: String,
}

/// A certificate with its key and the authority that signed it. `Debug` hides the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Set {
    /// The certificate in PEM.
    pub certificate: String,
    /// The private key in PEM (PKCS#8).
    pub key: String,
    /// The authority's certificate in PEM.
    pub ca: String,
}

/// What a certificate is made of.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    /// The subject's common name.
    pub common_name: String,
    /// The kind of key.
    pub key: KeyKind,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

/// Kinds of key that IoT Core takes (docs/IOT-CORE.md §1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA with 2 048 bits; takes a noticeable time to make.
    Rsa2048,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("make certificate `{subject}`")]
pub struct PkiError {
    subject: String,
    #[source]
    source: rcgen::Error,
}

/// Names and addresses of a server on this machine.
pub const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

// === impl Authority ===

impl Authority {
    /// A new authority, valid for ten years around now.
    ///
    /// # Errors
    /// Only if the machine has no randomness.
    pub fn new(common_name: &str) -> Result<Self, PkiError> {
        let failed = failed(common_name);
        let key = KeyPair::generate().map_err(&failed)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = SystemTime::from(Clock::system().now());
        params.not_before = (now - DAY).into();
        params.not_after = (now + TEN_YEARS).into();
        let certificate_pem = params.self_signed(&key).map_err(&failed)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self {
            certificate_pem,
            issuer: Issuer::new(params, key),
            key_pem,
        })
    }

    /// An authority from what [`Self::certificate_pem`] and [`Self::key_pem`] gave.
    ///
    /// # Errors
    /// When the texts are not a certificate and its key.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let failed = failed("certificate authority");
        let key = KeyPair::from_pem(key_pem).map_err(&failed)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(&failed)?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            issuer,
            key_pem: key_pem.to_owned(),
        })
    }

    /// Its certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key, for keeping the authority over a restart.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A server certificate for `localhost`, `127.0.0.1`, `::1` and more names or addresses, valid for a year.
    ///
    /// # Errors
    /// When a name is not a DNS name.
    pub fn server(&self, names: &[&str]) -> Result<Set, PkiError> {
        let all: Vec<&str> = LOCAL_NAMES.iter().chain(names).copied().collect();
        self.server_as(&all, &CertificateRequest::new("localhost"))
    }

    /// A server certificate on P-256 for just these names or addresses, with the request's subject and validity.
    ///
    /// # Errors
    /// When a name is not a DNS name.
    pub fn server_as(&self, names: &[&str], request: &CertificateRequest) -> Result<Set, PkiError> {
        let failed = failed("server");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(&failed)?;
        params
            .distinguished_name
            .push(DnType::CommonName, request.common_name.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = SystemTime::from(request.not_before).into();
        params.not_after = SystemTime::from(request.not_after).into();
        let key = KeyPair::generate().map_err(&failed)?;
        self.sign(params, &key).map_err(&failed)
    }

    /// A client certificate on P-256, valid for a year.
    ///
    /// # Errors
    /// Only if the machine has no randomness.
    pub fn client(&self, common_name: &str) -> Result<Set, PkiError> {
        self.issue(&CertificateRequest::new(common_name))
    }

    /// A client certificate as asked for.
    ///
    /// # Errors
    /// Only if the machine has no randomness.
    pub fn issue(&self, request: &CertificateRequest) -> Result<Set, PkiError> {
        let failed = failed(&request.common_name);
        let key = match request.key {
            KeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyKind::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        }
        .map_err(&failed)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, request.common_name.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = SystemTime::from(request.not_before).into();
        params.not_after = SystemTime::from(request.not_after).into();
        self.sign(params, &key).map_err(&failed)
    }

    fn sign(&self, mut params: CertificateParams, key: &KeyPair) -> Result<Set, rcgen::Error> {
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Set {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            ca: self.certificate_pem.clone(),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

// === impl CertificateRequest ===

impl CertificateRequest {
    /// P-256, valid from yesterday for a year.
    pub fn new(common_name: &str) -> Self {
        let at = |time| Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
        let now = SystemTime::from(Clock::system().now());
        Self {
            common_name: common_name.to_owned(),
            key: KeyKind::P256,
            not_before: at(now - DAY),
            not_after: at(now + YEAR),
        }
    }

    /// With another kind of key.
    #[must_use]
    pub fn key(mut self, key: KeyKind) -> Self {
        self.key = key;
        self
    }

    /// With another validity.
    #[must_use]
    pub fn valid(mut self, not_before: Timestamp, not_after: Timestamp) -> Self {
        self.not_before = not_before;
        self.not_after = not_after;
        self
    }
}

// === impl Set ===

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set")
            .field("certificate", &self.certificate)
            .field("key", &"...")
            .field("ca", &self.ca)
            .finish()
    }
}

fn failed(subject: &str) -> impl Fn(rcgen::Error) -> PkiError {
    let subject = subject.to_owned();
    move |source| PkiError {
        subject: subject.clone(),
        source,
    }
}

impl link::error::Hint for PkiError {}

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const TEN_YEARS: Duration = Duration::from_secs(3_650 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_in_debug_output() {
        let authority = Authority::new("test").unwrap();
        let set = authority.client("a").unwrap();
        assert!(!format!("{authority:?} {set:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_certificate_may_be_made_that_has_expired() {
        use rustls_pki_types::pem::PemObject as _;
        let authority = Authority::new("test").unwrap();
        let (from, to) = ("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z");
        let request =
            CertificateRequest::new("a").valid(from.parse().unwrap(), to.parse().unwrap());
        let set = authority.issue(&request).unwrap();
        let der =
            rustls_pki_types::CertificateDer::from_pem_slice(set.certificate.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let until: Timestamp = to.parse().unwrap();
        assert_eq!(parsed.validity().not_after.timestamp(), until.as_second());
    }

    #[test]
    fn an_authority_survives_a_restart() {
        let first = Authority::new("test").unwrap();
        let second = Authority::from_pem(first.certificate_pem(), first.key_pem()).unwrap();
        assert_eq!(
            first.client("a").unwrap().ca,
            second.client("b").unwrap().ca
        );
    }
}
