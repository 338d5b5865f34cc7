//! What IoT Core knows about a connection when it evaluates a policy.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

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
    /// Where the broker lives; resource names of requests begin with it.
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
    /// The thing's name; thing variables resolve only when the client id equals it (iot-core.md §1.7).
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
    /// Values by what follows `iot:Certificate.`, such as `Subject.CommonName` or `Issuer.Organization`.
    pub attributes: BTreeMap<String, String>,
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

    /// The value of a policy variable, such as `iot:ClientId`; `None` when it cannot be resolved here.
    pub fn variable(&self, name: &str) -> Option<String> {
        if let Some(attribute) = name.strip_prefix("iot:Certificate.") {
            return self.certificate.attributes.get(attribute).cloned();
        }
        if let Some(part) = name.strip_prefix("iot:Connection.Thing.") {
            return self.thing_variable(part);
        }
        match name {
            "iot:ClientId" => Some(self.client_id.clone()),
            "iot:CertificateId" => self.certificate.id.clone(),
            "aws:SourceIp" => self.source_ip.map(|ip| ip.to_string()),
            _ => None,
        }
    }

    fn thing_variable(&self, part: &str) -> Option<String> {
        let thing = self
            .thing
            .as_ref()
            .filter(|thing| thing.attached && thing.name == self.client_id);
        if part == "IsAttached" {
            // Always known, so that a Deny on `false` holds for a client without a thing.
            return Some(thing.is_some().to_string());
        }
        let thing = thing?;
        match part {
            "ThingName" => Some(thing.name.clone()),
            "ThingTypeName" => thing.type_name.clone(),
            _ => {
                let name = part.strip_prefix("Attributes[")?.strip_suffix(']')?;
                thing.attributes.get(name).cloned()
            }
        }
    }
}
