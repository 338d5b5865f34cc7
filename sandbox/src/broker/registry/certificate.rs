//! One registered certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate, X509Name};

/// SHA-256 of the certificate's DER in lower-case hex. IoT Core's certificate id is the same (iot-core.md §7,
/// from memory there).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

/// Only ACTIVE connects (iot-core.md §1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CertificateState {
    /// In use.
    Active,
    /// Switched off, and may be switched on again.
    Inactive,
    /// Switched off for ever.
    Revoked,
}

/// A registered certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Whether it may be used.
    pub state: CertificateState,
    /// Names of the attached policies.
    pub policies: BTreeSet<String>,
    /// Values for `${iot:Certificate.…}`, such as `Subject.CommonName`.
    pub attributes: BTreeMap<String, String>,
    /// The certificate itself.
    pub pem: String,
    /// When it was registered.
    pub created: Timestamp,
    /// When its state last changed.
    pub modified: Timestamp,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(der) {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// From 64 hex digits, perhaps after `0x`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let whole = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole.then(|| Self(digits.to_ascii_lowercase()))
    }

    /// Lower-case hex.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl CertificateState ===

impl CertificateState {
    /// The name in IoT Core's API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Revoked => "REVOKED",
        }
    }
}

// === impl Certificate ===

impl Certificate {
    /// A certificate without policies; `None` when the bytes are no certificate.
    pub(super) fn describe(
        der: &[u8],
        pem: &str,
        state: CertificateState,
        now: Timestamp,
    ) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let mut attributes = BTreeMap::new();
        name_attributes("Subject", parsed.subject(), &mut attributes);
        name_attributes("Issuer", parsed.issuer(), &mut attributes);
        attributes.insert(
            "SerialNumber".into(),
            parsed.tbs_certificate.raw_serial_as_string(),
        );
        let validity = parsed.validity();
        let at = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        Some(Self {
            state,
            policies: BTreeSet::new(),
            attributes,
            pem: pem.to_owned(),
            created: now,
            modified: now,
            not_before: at(validity.not_before)?,
            not_after: at(validity.not_after)?,
        })
    }
}

fn name_attributes(prefix: &str, name: &X509Name<'_>, into: &mut BTreeMap<String, String>) {
    let parts = [
        ("CommonName", name.iter_common_name().next()),
        ("Organization", name.iter_organization().next()),
        ("OrganizationalUnit", name.iter_organizational_unit().next()),
        ("Country", name.iter_country().next()),
        ("State", name.iter_state_or_province().next()),
    ];
    for (key, value) in parts {
        if let Some(text) = value.and_then(|value| value.as_str().ok()) {
            into.insert(format!("{prefix}.{key}"), text.to_owned());
        }
    }
}
