//! Certificates: their fields, and whether they are fit for the use they are put to.

use std::fmt::{self, Write as _};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use super::error::IdentityError;
use super::key;
use super::key_kind::KeyKind;
use crate::clock::rfc3339_seconds;

/// The fields of a client certificate that people and checks need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Subject as text; control characters replaced.
    pub subject: String,
    /// Issuer as text; control characters replaced.
    pub issuer: String,
    /// Serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the DER in lower-case hexadecimal; believed to be the certificate id of AWS (docs/IOT-CORE.md §7).
    pub fingerprint: String,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// What kind of key it has.
    pub key_kind: KeyKind,
}

// === impl Description ===

impl Description {
    /// Time until the certificate expires; negative when it has.
    pub fn time_left(&self, now: Timestamp) -> SignedDuration {
        self.not_after.duration_since(now)
    }

    /// Whether the certificate's time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.not_after
    }

    fn of(certificate: &X509Certificate<'_>, der: &[u8]) -> Self {
        let serial = hex(certificate.raw_serial());
        let trimmed = serial.trim_start_matches("00");
        Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            serial: if trimmed.is_empty() {
                "00".into()
            } else {
                trimmed.to_owned()
            },
            fingerprint: hex(&Sha256::digest(der)),
            not_before: timestamp(certificate.validity().not_before),
            not_after: timestamp(certificate.validity().not_after),
            key_kind: KeyKind::of_public(certificate.public_key()),
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ({}), serial {}, sha256 {}, issued by `{}`, valid {} to {}",
            self.subject,
            self.key_kind,
            self.serial,
            self.fingerprint,
            self.issuer,
            rfc3339_seconds(self.not_before),
            rfc3339_seconds(self.not_after)
        )
    }
}

/// Subject and issuer of a certificate as text, or nothing if it cannot be parsed.
pub fn subject_and_issuer(der: &CertificateDer<'_>) -> Option<(String, String)> {
    let certificate = parse(der)?;
    Some((
        printable(&certificate.subject().to_string()),
        printable(&certificate.issuer().to_string()),
    ))
}

/// Checks the client's chain in everything but its dates and describes its leaf.
pub(super) fn check_client(
    path: &Path,
    chain: &[CertificateDer<'_>],
) -> Result<Description, IdentityError> {
    for (index, der) in chain.iter().enumerate() {
        parse(der).ok_or_else(|| encoding(path, index))?;
    }
    let leaf = chain.first().ok_or_else(|| encoding(path, 0))?;
    let certificate = parse(leaf).ok_or_else(|| encoding(path, 0))?;
    let description = Description::of(&certificate, leaf);
    // First: a version without extensions makes the other checks meaningless.
    if certificate.version() != X509Version::V3 {
        return Err(IdentityError::CertificateVersion {
            path: path.to_owned(),
            subject: description.subject,
            version: certificate.version().0.saturating_add(1),
        });
    }
    if certificate.is_ca() {
        return Err(IdentityError::ClientIsCa {
            path: path.to_owned(),
            subject: description.subject,
        });
    }
    if let Ok(Some(usage)) = certificate.extended_key_usage()
        && !(usage.value.client_auth || usage.value.any)
    {
        return Err(IdentityError::NotForClients {
            path: path.to_owned(),
            subject: description.subject,
        });
    }
    key::check_public(path, description.key_kind)?;
    Ok(description)
}

/// Checks the client certificate's dates: not before ≤ now < not after.
pub(super) fn check_dates(
    path: &Path,
    description: &Description,
    now: Timestamp,
) -> Result<(), IdentityError> {
    if description.is_expired(now) {
        return Err(IdentityError::Expired {
            path: path.to_owned(),
            not_after: description.not_after,
            now,
        });
    }
    if now < description.not_before {
        return Err(IdentityError::NotYetValid {
            path: path.to_owned(),
            not_before: description.not_before,
            now,
        });
    }
    Ok(())
}

/// Checks that every certificate of the CA file is one.
///
/// Its dates are left alone: a trust anchor is a name and a key, and verification does not look at its dates.
pub(super) fn check_ca(
    path: &Path,
    certificates: &[CertificateDer<'_>],
) -> Result<(), IdentityError> {
    for (index, der) in certificates.iter().enumerate() {
        let certificate = parse(der).ok_or_else(|| encoding(path, index))?;
        if !can_issue(&certificate) {
            return Err(IdentityError::NotACa {
                path: path.to_owned(),
                position: index + 1,
                subject: printable(&certificate.subject().to_string()),
            });
        }
    }
    Ok(())
}

fn can_issue(certificate: &X509Certificate<'_>) -> bool {
    let marked = match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        // Version 1 knows no extensions; some old private roots are of that kind.
        Ok(None) => {
            certificate.version() == X509Version::V1
                && certificate.subject() == certificate.issuer()
        }
        Err(_) => false,
    };
    let allowed = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    marked && allowed
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    match X509Certificate::from_der(der.as_ref()) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

fn encoding(path: &Path, index: usize) -> IdentityError {
    IdentityError::CertificateEncoding {
        path: path.to_owned(),
        position: index + 1,
    }
}

/// Clamped, because "no expiry" is written as the last second of the year 9999, which lies beyond `Timestamp`.
fn timestamp(time: ASN1Time) -> Timestamp {
    let seconds = time.timestamp();
    Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
