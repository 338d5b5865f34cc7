//! Private keys: whether IoT Core accepts one, and whether it belongs to a certificate.

use std::path::Path;

use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::asn1_rs::{Any, FromDer, Sequence};
use x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::error::{IdentityError, Role};
use super::key_kind::{KeyKind, MAX_RSA_BITS, bits};
use super::location::Files;
use crate::iot::limits::RSA_BITS;

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
    (!(RSA_BITS..=MAX_RSA_BITS).contains(&bits)).then_some(bits)
}
