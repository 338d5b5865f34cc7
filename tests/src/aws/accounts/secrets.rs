//! Reads secrets, which the product only ever writes.

use serde_json::{Value, json};

use super::{FakeAws, FakeAwsError};

/// A version of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVersion {
    /// Its id.
    pub id: String,
    /// Such as `AWSCURRENT`, sorted.
    pub stages: Vec<String>,
    /// Its value; not JSON comes as a JSON string.
    pub value: Value,
}

// === impl FakeAws ===

impl FakeAws {
    /// The current value of a secret, as JSON where it is JSON and as a JSON string where not. `None` when there is
    /// none of that name or it is marked for deletion.
    ///
    /// # Errors
    /// See [`FakeAwsError`].
    pub async fn secret(&self, account: &str, name: &str) -> Result<Option<Value>, FakeAwsError> {
        let asked = json!({ "SecretId": name, "VersionStage": "AWSCURRENT" });
        let answer = self
            .call(account, "secretsmanager", "GetSecretValue", asked)
            .await;
        match answer {
            Ok(answer) => Ok(Some(content(&answer))),
            Err(FakeAwsError::Refused { body, .. })
                if GONE.iter().any(|code| body.contains(code)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// All versions of a secret that is there, those without a stage too, oldest first.
    ///
    /// # Errors
    /// See [`FakeAwsError`].
    pub async fn secret_versions(
        &self,
        account: &str,
        name: &str,
    ) -> Result<Vec<SecretVersion>, FakeAwsError> {
        let asked = json!({ "SecretId": name, "IncludeDeprecated": true, "MaxResults": 100 });
        let answer = self
            .call(account, "secretsmanager", "ListSecretVersionIds", asked)
            .await?;
        let mut versions = Vec::new();
        for version in answer["Versions"].as_array().into_iter().flatten() {
            let id = version["VersionId"].as_str().unwrap_or_default().to_owned();
            let stages = version["VersionStages"].as_array().into_iter().flatten();
            let mut stages: Vec<_> = stages
                .filter_map(|stage| Some(stage.as_str()?.to_owned()))
                .collect();
            stages.sort();
            let asked = json!({ "SecretId": name, "VersionId": id });
            let value = content(
                &self
                    .call(account, "secretsmanager", "GetSecretValue", asked)
                    .await?,
            );
            versions.push(SecretVersion { id, stages, value });
        }
        Ok(versions)
    }
}

fn content(answer: &Value) -> Value {
    let text = answer["SecretString"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

// No such secret; marked for deletion.
const GONE: [&str; 2] = ["ResourceNotFoundException", "InvalidRequestException"];
