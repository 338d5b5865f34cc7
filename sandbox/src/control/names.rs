//! Names of resources, with the patterns of the API reference.

use link::iot::limits::CLIENT_ID_BYTES;
use serde::Deserialize;

use crate::broker::Fingerprint;

/// `[\w+=,.@-]+`, 1 to 128 characters.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PolicyName(pub(super) String);

/// `[a-zA-Z0-9:_-]+`, 1 to 128 characters.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ThingName(pub(super) String);

/// `(0x)?[a-fA-F0-9]+`, 64 digits.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct CertificateId(pub(super) Fingerprint);

/// `[0-9]+`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct VersionId(pub(super) u64);

/// `^[^$].*`, 1 to 128 characters.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ClientName(pub(super) String);

impl TryFrom<String> for ClientName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if (1..=CLIENT_ID_BYTES).contains(&name.len()) && !name.starts_with('$') {
            return Ok(Self(name));
        }
        Err(format!("clientId `{name}` is not valid"))
    }
}

impl TryFrom<String> for PolicyName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if is_name(&name, "_+=,.@-") {
            return Ok(Self(name));
        }
        Err(format!("policyName `{name}` is not valid"))
    }
}

impl TryFrom<String> for ThingName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if is_name(&name, ":_-") {
            return Ok(Self(name));
        }
        Err(format!("thingName `{name}` is not valid"))
    }
}

impl TryFrom<String> for CertificateId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        match Fingerprint::parse(&id) {
            Some(fingerprint) => Ok(Self(fingerprint)),
            None => Err(format!("certificateId `{id}` is not 64 hex digits")),
        }
    }
}

impl TryFrom<String> for VersionId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        match id.parse() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(format!("policyVersionId `{id}` is not a number")),
        }
    }
}

fn is_name(name: &str, extra: &str) -> bool {
    (1..=128).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}
