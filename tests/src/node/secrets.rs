//! Where the secrets of a node's pods come from: Secrets Manager of one account.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::aws::{FakeAws, FakeAwsError};
use crate::csi::{MountError, ProviderClass, contents};

/// An account. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Secrets {
    aws: Arc<FakeAws>,
    account: String,
}

// === impl Secrets ===

impl Secrets {
    /// An account of an AWS of its own.
    ///
    /// # Errors
    /// When there is no moto.
    pub(super) async fn start() -> Result<Self, FakeAwsError> {
        let aws = Arc::new(FakeAws::builder().account(ACCOUNT).start().await?);
        let account = ACCOUNT.to_owned();
        Ok(Self { aws, account })
    }

    /// A shell command that removes what moto leaves where nobody drops it.
    pub(super) fn clearing(&self) -> String {
        let directory = self.aws.moto().directory();
        directory.map_or_else(String::new, |path| format!("rm -rf '{}'\n", path.display()))
    }

    /// Gives a secret this value, whether it is there or not.
    ///
    /// # Errors
    /// When AWS refuses.
    pub(super) async fn put(&self, name: &str, value: &Value) -> Result<(), FakeAwsError> {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let there = self.aws.secret(&self.account, name).await?.is_some();
        let (operation, asked) = match there {
            true => (
                "PutSecretValue",
                json!({ "SecretId": name, "SecretString": text }),
            ),
            false => (
                "CreateSecret",
                json!({ "Name": name, "SecretString": text }),
            ),
        };
        let service = "secretsmanager";
        self.aws
            .call(&self.account, service, operation, asked)
            .await?;
        Ok(())
    }

    /// The value of a secret, if there is one.
    ///
    /// # Errors
    /// When AWS refuses.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Value>, FakeAwsError> {
        self.aws.secret(&self.account, name).await
    }

    /// The files that a class asks for.
    ///
    /// # Errors
    /// When a secret or a key in it is not there.
    pub(super) async fn files(
        &self,
        class: &ProviderClass,
    ) -> Result<Vec<(String, String)>, MountError> {
        contents(&self.aws, &self.account, class).await
    }
}

const ACCOUNT: &str = "node";
