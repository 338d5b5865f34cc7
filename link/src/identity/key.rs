//! Private keys: which kinds IoT Core accepts, and whether a key belongs to a certificate.

use std::fmt;
use std::path::Path;

use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::asn1_rs::{Any, FromDer, Sequence};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED448, OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::error::{IdentityError, Role};
use super::location::Files;

/// What kind of key a certificate or key file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
    /// ECDSA on some other curve.
    OtherCurve,
    /// Something else.
    Other,
}

// === impl KeyKind ===

impl KeyKind {
    /// Whether IoT Core takes it: RSA of 2048 bits or more, P-256, P-384 (docs/IOT-CORE.md §1.6; P-521 is named only
    /// by a newer text and Ed25519 by none, so neither is relied on).
    pub fn is_accepted(self) -> bool {
        match self {
            Self::Rsa(bits) => (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits),
            Self::P256 | Self::P384 => true,
            Self::P521 | Self::Ed25519 | Self::Ed448 | Self::OtherCurve | Self::Other => false,
        }
    }

    /// The kind of a public key.
    pub(super) fn of_public(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        let algorithm = &spki.algorithm.algorithm;
        if *algorithm == OID_PKCS1_RSAENCRYPTION {
            return match spki.parsed() {
                Ok(PublicKey::RSA(rsa)) => Self::Rsa(bits(rsa.modulus)),
                _ => Self::Other,
            };
        }
        if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = spki
                .algorithm
                .parameters
                .as_ref()
                .and_then(|p| p.as_oid().ok());
            return match curve {
                Some(oid) if oid == OID_EC_P256 => Self::P256,
                Some(oid) if oid == OID_NIST_EC_P384 => Self::P384,
                Some(oid) if oid == OID_NIST_EC_P521 => Self::P521,
                _ => Self::OtherCurve,
            };
        }
        if *algorithm == OID_SIG_ED25519 {
            return Self::Ed25519;
        }
        if *algorithm == OID_SIG_ED448 {
            return Self::Ed448;
        }
        Self::Other
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::P256 => f.write_str("EC P-256"),
            Self::P384 => f.write_str("EC P-384"),
            Self::P521 => f.write_str("EC P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Ed448 => f.write_str("Ed448"),
            Self::OtherCurve => f.write_str("EC on another curve"),
            Self::Other => f.write_str("unknown"),
        }
    }
}

/// Refuses a key that cannot be used, is of a kind IoT Core does not take, or belongs to another certificate.
pub(super) fn check(
    files: &Files,
    key: &PrivateKeyDer<'static>,
    chain: &[CertificateDer<'static>],
) -> Result<(), IdentityError> {
    let kind = |kind| IdentityError::KeyKind {
        role: Role::Key,
        path: files.key.clone(),
        kind,
    };
    let signing = any_supported_type(key).map_err(|_| match weak_rsa(key) {
        Some(bits) => kind(KeyKind::Rsa(bits)),
        None => IdentityError::KeyEncoding {
            path: files.key.clone(),
        },
    })?;
    let found = signing
        .public_key()
        .and_then(|spki| {
            Some(KeyKind::of_public(
                &SubjectPublicKeyInfo::from_der(spki.as_ref()).ok()?.1,
            ))
        })
        .unwrap_or(KeyKind::Other);
    if !found.is_accepted() {
        return Err(kind(found));
    }
    let pair = CertifiedKey::new(chain.to_vec(), signing).keys_match();
    // Only the keys themselves say that they differ; the library has more to find fault with.
    pair.map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            IdentityError::KeyMismatch {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            }
        }
        other => IdentityError::CertificateUnusable {
            path: files.certificate.clone(),
            reason: other.to_string(),
        },
    })
}

/// Refuses a certificate whose key is of a kind IoT Core does not take.
pub(super) fn check_public(path: &Path, kind: KeyKind) -> Result<(), IdentityError> {
    if kind.is_accepted() {
        return Ok(());
    }
    Err(IdentityError::KeyKind {
        role: Role::Certificate,
        path: path.to_owned(),
        kind,
    })
}

/// The size of an RSA key the library will not take: it refuses weak ones without saying so.
fn weak_rsa(key: &PrivateKeyDer<'_>) -> Option<usize> {
    match key {
        PrivateKeyDer::Pkcs1(key) => modulus_bits(key.secret_pkcs1_der()),
        // PrivateKeyInfo ::= SEQUENCE { version, algorithm, privateKey OCTET STRING } (RFC 5208)
        PrivateKeyDer::Pkcs8(key) => {
            let (_, info) = Sequence::from_der(key.secret_pkcs8_der()).ok()?;
            let (rest, _version) = Any::from_der(&info.content).ok()?;
            let (rest, algorithm) = Sequence::from_der(rest).ok()?;
            let (_, oid) = Any::from_der(&algorithm.content).ok()?;
            if oid.as_oid().ok()? != OID_PKCS1_RSAENCRYPTION {
                return None;
            }
            let (_, octets) = Any::from_der(rest).ok()?;
            modulus_bits(octets.data)
        }
        _ => None,
    }
}

/// RSAPrivateKey ::= SEQUENCE { version, modulus, … } (RFC 8017)
fn modulus_bits(pkcs1: &[u8]) -> Option<usize> {
    let (_, key) = Sequence::from_der(pkcs1).ok()?;
    let (rest, _version) = Any::from_der(&key.content).ok()?;
    let (_, modulus) = Any::from_der(rest).ok()?;
    let bits = bits(modulus.data);
    (!(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits)).then_some(bits)
}

fn bits(number: &[u8]) -> usize {
    let Some(first) = number.iter().position(|byte| *byte != 0) else {
        return 0;
    };
    (number.len() - first) * 8 - number[first].leading_zeros() as usize
}

const MIN_RSA_BITS: usize = 2048;

// The most the crypto library signs with; IoT Core's own ceiling is not written down.
const MAX_RSA_BITS: usize = 8192;
