//! One registered certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use link::iot::Thing;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

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
    /// The thing it is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing: Option<AttachedThing>,
    /// Values for `${iot:Certificate.…}`, such as `Subject.CommonName`.
    pub attributes: BTreeMap<String, String>,
}

/// A thing as the registry stores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachedThing {
    name: String,
    type_name: Option<String>,
    attributes: BTreeMap<String, String>,
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

// === impl Certificate ===

impl Certificate {
    /// An ACTIVE certificate without policies; `None` when the bytes are no certificate.
    pub(super) fn describe(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let mut attributes = BTreeMap::new();
        name_attributes("Subject", parsed.subject(), &mut attributes);
        name_attributes("Issuer", parsed.issuer(), &mut attributes);
        attributes.insert(
            "SerialNumber".into(),
            parsed.tbs_certificate.raw_serial_as_string(),
        );
        Some(Self {
            state: CertificateState::Active,
            policies: BTreeSet::new(),
            thing: None,
            attributes,
        })
    }
}

impl From<Thing> for AttachedThing {
    fn from(thing: Thing) -> Self {
        Self {
            name: thing.name,
            type_name: thing.type_name,
            attributes: thing.attributes,
        }
    }
}

impl From<AttachedThing> for Thing {
    fn from(thing: AttachedThing) -> Self {
        Self {
            name: thing.name,
            type_name: thing.type_name,
            attributes: thing.attributes,
            attached: true,
        }
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
