//! An AWS for tests: several accounts on one loopback address, for the AWS SDK in another process.
//!
//! ```text
//! provisioner ──▶ Endpoint ──┬──▶ moto (`tests/aws/serve.py`)   Secrets Manager, IAM, STS, EC2, RDS, EKS clusters
//!                         ├──▶ Eks                           add-ons and Pod Identity associations, which moto lacks
//!                         └──▶ the sandbox                   AWS IoT, started by the test
//! ```
//! [`FakeAws`] has it all with what an operator has already (VPC, cluster, bastion) in each account. [`Endpoint`] is where a
//! test looks and interferes: calls made, refusals, failures, answers held back. Signatures are not checked; the access key
//! says whose account it is, and accounts see nothing of each other. Accounts have random ids, so that tests in one
//! process share one moto.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode};

pub use self::accounts::{
    Account, FakeAws, FakeAwsBuilder, FakeAwsError, Iot, Prerequisites, SecretVersion,
};
pub use self::eks::Eks;
pub use self::endpoint::{Call, Endpoint, HeldCall};
pub use self::moto::{Moto, MotoError};

mod accounts;
mod backends;
mod eks;
mod endpoint;
mod form;
mod moto;
mod refusal;
mod rest;
mod xml;

/// The region of everything in a [`FakeAws`].
pub const REGION: &str = "eu-west-1";

/// Twelve random digits: an account that nobody else uses.
pub fn account_id() -> String {
    rand::random_range(100_000_000_000_u64..1_000_000_000_000).to_string()
}

/// A call to AWS whose caller and meaning are known.
#[derive(Clone)]
struct Request {
    account: String,
    region: String,
    /// The name in the signature's scope, such as `iotdata`.
    service: String,
    operation: String,
    method: Method,
    /// Path and query.
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What goes back.
#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// How a service spells requests and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// JSON 1.1: `X-Amz-Target` names the operation.
    Json,
    /// A form in, XML out.
    Query,
    /// The same with another shape of errors.
    Ec2,
    /// Method and path name the operation.
    Rest,
}

// === impl Protocol ===

impl Protocol {
    fn of(service: &str) -> Self {
        match service {
            "iam" | "sts" | "rds" => Self::Query,
            "ec2" => Self::Ec2,
            "eks" | "iot" | "iotdata" => Self::Rest,
            _ => Self::Json,
        }
    }
}

/// The service as IAM actions name it.
fn permission(service: &str, operation: &str) -> String {
    let prefix = if service == "iotdata" { "iot" } else { service };
    format!("{prefix}:{operation}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_plane_of_iot_has_the_permissions_of_iot() {
        let action = permission("iotdata", "DeleteConnection");
        assert_eq!(action, "iot:DeleteConnection");
        assert_eq!(
            permission("rds", "CreateDBInstance"),
            "rds:CreateDBInstance"
        );
    }

    #[test]
    fn an_account_has_twelve_digits() {
        let id = account_id();
        assert!(
            id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()),
            "{id}"
        );
    }
}
