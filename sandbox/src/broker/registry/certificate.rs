//! One registered certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};
use x509_parser::der_parser::Oid;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate, X509Name};

/// SHA-256 of the certificate's DER in lower-case hex. IoT Core's certificate id is the same (docs/IOT-CORE.md §7,
/// from memory there).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

/// Only ACTIVE connects (docs/IOT-CORE.md §1.6).
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
    /// Values for `${iot:Certificate.…}` in the certificate's order, by name, such as `Subject.CommonName`.
    #[serde(deserialize_with = "lists")]
    pub attributes: BTreeMap<String, Vec<String>>,
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
        // The integer's sign takes a byte of its own, which nobody writes.
        let serial = parsed.tbs_certificate.raw_serial_as_string();
        let serial = serial.strip_prefix("00:").unwrap_or(&serial).to_owned();
        attributes.insert("SerialNumber".into(), vec![serial]);
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

// All attributes that IoT Core has variables for; one with a value that is no text here stays away, and is unknown.
fn name_attributes(prefix: &str, name: &X509Name<'_>, into: &mut BTreeMap<String, Vec<String>>) {
    for (last, key) in ATTRIBUTES {
        let Ok(oid) = Oid::from(&[2, 5, 4, *last]) else {
            continue;
        };
        let values: Result<Vec<String>, _> = name
            .iter_by_oid(&oid)
            .map(|value| value.as_str().map(str::to_owned))
            .collect();
        if let Ok(values) = values
            && !values.is_empty()
        {
            into.insert(format!("{prefix}.{key}"), values);
        }
    }
}

// Registries written before had one value for each name.
fn lists<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Values {
        One(String),
        Many(Vec<String>),
    }
    let read: BTreeMap<String, Values> = Deserialize::deserialize(from)?;
    let list = |values| match values {
        Values::One(value) => vec![value],
        Values::Many(values) => values,
    };
    Ok(read
        .into_iter()
        .map(|(name, values)| (name, list(values)))
        .collect())
}

// Below 2.5.4 (X.520), with the names that the AWS IoT developer guide gives them.
const ATTRIBUTES: &[(u64, &str)] = &[
    (3, "CommonName"),
    (4, "Surname"),
    (5, "SerialNumber"),
    (6, "Country"),
    (8, "State"),
    (10, "Organization"),
    (11, "OrganizationalUnit"),
    (12, "Title"),
    (42, "GivenName"),
    (43, "Initials"),
    (44, "GenerationQualifier"),
    (46, "DistinguishedNameQualifier"),
    (65, "Pseudonym"),
];
