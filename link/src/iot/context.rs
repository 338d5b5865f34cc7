//! What IoT Core knows about a connection when it evaluates a policy.
//!
//! **Invariant:** a value that AWS does not document for this connection is [`VariableValue::Unknown`] with the reason,
//! never a guess; [`VariableValue::Absent`] is only what AWS documents as having no value.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

mod certificate;

/// The part of an IoT resource name before the resource: `arn:<partition>:iot:<region>:<account>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArnPrefix {
    /// `aws`, `aws-us-gov` or `aws-cn`.
    pub partition: String,
    /// The region's name, such as `us-east-2`.
    pub region: String,
    /// The 12-digit account id.
    pub account: String,
}

/// One connection in the eyes of the policy evaluator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Region and account of the broker; resource names of requests begin with it.
    pub arn: ArnPrefix,
    /// The client id of CONNECT.
    pub client_id: String,
    /// The thing of that name in the registry, if there is one.
    pub thing: Option<Thing>,
    /// The client certificate.
    pub certificate: Certificate,
    /// The client's address, if known.
    pub source_ip: Option<IpAddr>,
    /// What CONNECT asked for.
    pub connect: ConnectAttributes,
}

/// A registry entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thing {
    /// The thing's name; thing variables resolve only when the client id equals it (docs/IOT-CORE.md §1.7).
    pub name: String,
    /// The thing type's name.
    pub type_name: Option<String>,
    /// The searchable attributes.
    pub attributes: BTreeMap<String, String>,
    /// Whether the connection's certificate is attached to the thing.
    pub attached: bool,
}

/// The certificate's part in policy variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The registry's id of the certificate.
    pub id: Option<String>,
    /// Values, in the certificate's order, by what follows `iot:Certificate.`, such as `Subject.CommonName` or
    /// `Issuer.Organization`.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// What is known of a policy variable or condition key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableValue {
    /// Its one value.
    One(String),
    /// Its values, for a key that is a list.
    Many(Vec<String>),
    /// None, and AWS documents that it has none for such a connection.
    Absent,
    /// Not known here.
    Unknown(UnknownReason),
}

/// Why a variable's value is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownReason {
    /// AWS IoT documents no such variable, or not in this spelling.
    Unlisted,
    /// It has a value on a real connection that this evaluator was not given.
    Unseen,
    /// The connection has no value for it.
    Absent,
    /// The certificate has no such attribute, which AWS documents as leading to unexpected behaviour.
    Unset,
    /// Its value holds a wildcard character, for which AWS does not replace a certificate's variable.
    Wildcard,
    /// Its value is longer than 1 024 characters, for which AWS does not replace a certificate's variable.
    Long,
    /// It is a list, which nothing but a condition with a set operator takes.
    List,
}

/// What the `iot:ConnectAttributes` condition key sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectAttributes {
    /// The client asked for a session that outlives the connection.
    pub persistent: bool,
    /// The client left a last will.
    pub last_will: bool,
}

// === impl ArnPrefix ===

impl ArnPrefix {
    /// A prefix in the `aws` partition.
    pub fn new(region: impl Into<String>, account: impl Into<String>) -> Self {
        Self {
            partition: "aws".into(),
            region: region.into(),
            account: account.into(),
        }
    }
}

impl Default for ArnPrefix {
    /// A stand-in for places without an account: region `us-east-1`, account `000000000000`.
    fn default() -> Self {
        Self::new("us-east-1", "000000000000")
    }
}

impl fmt::Display for ArnPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arn:{}:iot:{}:{}",
            self.partition, self.region, self.account
        )
    }
}

// === impl Context ===

impl Context {
    /// A connection of `client_id` with nothing else known.
    pub fn new(arn: ArnPrefix, client_id: impl Into<String>) -> Self {
        Self {
            arn,
            client_id: client_id.into(),
            ..Self::default()
        }
    }

    /// What is known of a policy variable or condition key, such as `iot:ClientId`.
    pub fn value(&self, name: &str) -> VariableValue {
        if let Some(attribute) = name.strip_prefix("iot:Certificate.") {
            return self.certificate.value(attribute);
        }
        if let Some(part) = name.strip_prefix("iot:Connection.Thing.") {
            return self.thing_variable(part);
        }
        let known = |value: Option<String>| {
            value.map_or(
                VariableValue::Unknown(UnknownReason::Unseen),
                VariableValue::One,
            )
        };
        match name {
            "iot:ClientId" => VariableValue::One(self.client_id.clone()),
            "iot:CertificateId" => known(self.certificate.id.clone()),
            "aws:SourceIp" => known(self.source_ip.map(|ip| ip.to_canonical().to_string())),
            "iot:DomainName" | "iot:LastWillTopic" => VariableValue::Unknown(UnknownReason::Unseen),
            _ => VariableValue::Unknown(UnknownReason::Unlisted),
        }
    }

    fn thing_variable(&self, part: &str) -> VariableValue {
        let attribute = part
            .strip_prefix("Attributes[")
            .and_then(|rest| rest.strip_suffix(']'));
        if !matches!(part, "IsAttached" | "ThingName" | "ThingTypeName") && attribute.is_none() {
            return VariableValue::Unknown(UnknownReason::Unlisted);
        }
        let thing = self
            .thing
            .as_ref()
            .filter(|thing| thing.attached && thing.name == self.client_id);
        if part == "IsAttached" {
            // Always known, so that a Deny on `false` holds for a client without a thing.
            return VariableValue::One(thing.is_some().to_string());
        }
        let value = thing.and_then(|thing| match attribute {
            Some(name) => thing.attributes.get(name).cloned(),
            None if part == "ThingName" => Some(thing.name.clone()),
            None => thing.type_name.clone(),
        });
        value.map_or(VariableValue::Absent, VariableValue::One)
    }
}

// === impl UnknownReason ===

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unlisted => "is no variable that AWS IoT documents",
            Self::Unseen => "has a value that is not known here",
            Self::Absent => "has no value for this connection",
            Self::Unset => "is no attribute of this certificate",
            Self::Wildcard => "has a value with a wildcard character in it",
            Self::Long => "has a value of more than 1024 characters",
            Self::List => "is a list",
        })
    }
}

/// Whether a variable's value could itself be read as a pattern.
pub(super) fn is_special(value: &str) -> bool {
    value.contains(['*', '?']) || value.contains("${") || value.contains("$(")
}

#[cfg(test)]
mod tests;
