//! Kinds of keys, and which of them IoT Core accepts.

use std::fmt;

use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED448, OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::iot::limits::RSA_BITS;

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
            Self::Rsa(bits) => (RSA_BITS..=MAX_RSA_BITS).contains(&bits),
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

/// The bits of an unsigned number in big-endian bytes.
pub(super) fn bits(number: &[u8]) -> usize {
    let Some(first) = number.iter().position(|byte| *byte != 0) else {
        return 0;
    };
    (number.len() - first) * 8 - number[first].leading_zeros() as usize
}

// The most the crypto library signs with; IoT Core's own ceiling is not written down.
pub(super) const MAX_RSA_BITS: usize = 8192;
