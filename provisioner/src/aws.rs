//! AWS as the provisioner sees it: one [`Account`] per set of credentials, and errors that say which call failed.
//!
//! [`Cloud`] holds the accounts a command may touch. An account is made by [`Expected::open`], which checks that the
//! credentials belong to the account the file expects (the account guard); nothing else makes clients.

use std::collections::BTreeMap;

pub use self::error::{AwsError, AwsErrorKind, Optional, Outcome};

pub(crate) use self::query::QueryRequest;
pub use self::query::{Query, QueryError};
pub use self::session::{Expected, OpenError, default_region};

mod broker;
pub(crate) mod ec2;
mod error;
pub(crate) mod public;
mod query;
pub(crate) mod rds;
pub(crate) mod secrets;
mod session;

use crate::scope::Scope;

/// The accounts at hand.
#[derive(Debug, Default)]
pub struct Cloud {
    accounts: BTreeMap<Scope, Account>,
}

/// Clients that act in one account and region.
#[derive(Clone, Debug)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// Such as `eu-west-1`.
    pub region: String,
    /// Such as `aws` or `aws-us-gov`.
    pub partition: String,
    /// ARN of the caller.
    pub caller: String,
    /// AWS IoT's control plane.
    pub iot: aws_sdk_iot::Client,
    /// Its data plane: ends connections.
    pub iot_data: aws_sdk_iotdataplane::Client,
    /// Secrets Manager.
    pub secrets: aws_sdk_secretsmanager::Client,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// EKS.
    pub eks: aws_sdk_eks::Client,
    /// RDS.
    pub rds: Query,
    /// EC2.
    pub ec2: Query,
}

// === impl Cloud ===

impl Cloud {
    /// Adds the account that `scope` lives in.
    #[must_use]
    pub fn with(mut self, scope: Scope, account: Account) -> Self {
        self.accounts.insert(scope, account);
        self
    }

    /// The account of a scope.
    ///
    /// # Errors
    /// [`AwsErrorKind::NoCredentials`] when this command has none for it.
    pub fn of(&self, scope: &Scope) -> Result<&Account, AwsError> {
        self.accounts
            .get(scope)
            .ok_or_else(|| AwsError::no_credentials(scope))
    }

    /// Whether there are credentials for a scope.
    pub fn reaches(&self, scope: &Scope) -> bool {
        self.accounts.contains_key(scope)
    }
}

// === impl Account ===

impl Account {
    /// `arn:<partition>:<service>:<region>:<account>:<rest>`.
    pub fn arn(&self, service: &str, rest: &str) -> String {
        format!(
            "arn:{}:{service}:{}:{}:{rest}",
            self.partition, self.region, self.id
        )
    }

    /// Where it is, for messages.
    pub fn location(&self) -> String {
        format!("account {} in {}", self.id, self.region)
    }
}
