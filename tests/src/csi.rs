//! The AWS provider of the Secrets Store CSI driver, as far as a pod sees it: reads the secrets of a
//! `SecretProviderClass` with the rights of the pod's role and lays them down as files.
//!
//! What would keep a real pod in `ContainerCreating` is an error here, in the order in which a pod meets it: no driver,
//! no Pod Identity association, a role that the pod may not take, a secret it may not read, a key that is not there.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::aws::{FakeAws, FakeAwsError};

pub use self::class::{Object, ProviderClass, ProviderClassError};

mod class;
mod rights;

/// A pod that mounts secrets.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The account its cluster is in, as the [`FakeAws`] calls it.
    pub account: String,
    /// The EKS cluster.
    pub cluster: String,
    /// Its service account; the namespace is the class's.
    pub service_account: String,
}

/// A volume could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// AWS refused the harness, or there is no such thing.
    #[error("ask AWS for `{0}`")]
    Aws(String, #[source] FakeAwsError),
    /// An add-on is missing or not ready.
    #[error("add-on `{addon}` of cluster `{cluster}` is `{status}`, not ACTIVE")]
    Addon {
        /// Which.
        addon: &'static str,
        /// Where.
        cluster: String,
        /// What it is.
        status: String,
    },
    /// Nobody gave the service account a role.
    #[error("no Pod Identity association for service account `{0}`")]
    Association(String),
    /// The role does not trust EKS Pod Identity.
    #[error("role `{0}` does not let `pods.eks.amazonaws.com` assume it and tag the session")]
    Trust(String),
    /// The role may not do this.
    #[error("role `{role}` may not {action} `{secret}`")]
    Denied {
        /// Whose.
        role: String,
        /// Of IAM.
        action: &'static str,
        /// The ARN.
        secret: String,
    },
    /// The value has no text at this path.
    #[error("secret `{secret}` has no text at `{path}`")]
    Path {
        /// Its name.
        secret: String,
        /// JMESPath.
        path: String,
    },
    /// The directory cannot be written to.
    #[error("write `{path}`")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Mounts the class for the pod, or looks again: files whose content did not change are left alone, others are replaced
/// one by one, so that a reader may see a new certificate beside an old key. Gives the names of the written files.
///
/// # Errors
/// See [`MountError`].
pub async fn mount(
    aws: &FakeAws,
    pod: &Pod,
    class: &ProviderClass,
    directory: &Path,
) -> Result<Vec<String>, MountError> {
    let files = files(aws, pod, class).await?;
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| MountError::Write { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let mut written = Vec::new();
    for (name, content) in files {
        let target = directory.join(&name);
        if fs::read_to_string(&target).is_ok_and(|old| old == content) {
            continue;
        }
        let fresh = directory.join(format!(".{name}.fresh"));
        fs::write(&fresh, &content).map_err(failed(&fresh))?;
        fs::rename(&fresh, &target).map_err(failed(&target))?;
        written.push(name);
    }
    Ok(written)
}

/// The files that a pod would find, if its role may read them.
///
/// # Errors
/// See [`MountError`].
pub async fn files(
    aws: &FakeAws,
    pod: &Pod,
    class: &ProviderClass,
) -> Result<Vec<(String, String)>, MountError> {
    Driver { aws, pod }.files(class).await
}

/// The files that a class asks for, whoever may read them.
///
/// # Errors
/// When a secret or a key in it is not there.
pub async fn contents(
    aws: &FakeAws,
    account: &str,
    class: &ProviderClass,
) -> Result<Vec<(String, String)>, MountError> {
    let mut files = Vec::new();
    for object in &class.objects {
        let asked = json!({ "SecretId": object.name, "VersionStage": "AWSCURRENT" });
        let found = aws.call(account, "secretsmanager", "GetSecretValue", asked);
        let found = found
            .await
            .map_err(|error| MountError::Aws(object.name.clone(), error))?;
        let text = found["SecretString"].as_str().unwrap_or_default();
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        // The whole value is mounted too, under its own name.
        files.push((object.name.replace('/', "_"), text.to_owned()));
        for (path, alias) in &object.paths {
            let found = path.find(&value).ok_or_else(|| MountError::Path {
                secret: object.name.clone(),
                path: path.to_string(),
            })?;
            files.push((alias.clone(), found.to_owned()));
        }
    }
    Ok(files)
}

/// One look at AWS in a pod's name.
struct Driver<'a> {
    aws: &'a FakeAws,
    pod: &'a Pod,
}

// === impl Driver ===

impl Driver<'_> {
    async fn files(&self, class: &ProviderClass) -> Result<Vec<(String, String)>, MountError> {
        for addon in ADDONS {
            self.addon(addon).await?;
        }
        let role = self.role(&class.namespace).await?;
        let policies = self.policies(&role).await?;
        for object in &class.objects {
            let arn = self.arn(&object.name).await?;
            for action in READS {
                if !rights::allow(&policies, action, &arn) {
                    let (role, secret) = (role.clone(), arn);
                    return Err(MountError::Denied {
                        role,
                        action,
                        secret,
                    });
                }
            }
        }
        contents(self.aws, &self.pod.account, class).await
    }

    async fn addon(&self, addon: &'static str) -> Result<(), MountError> {
        let cluster = &self.pod.cluster;
        let asked = json!({ "clusterName": cluster, "addonName": addon });
        let found = self.call("eks", "DescribeAddon", asked).await?;
        match &found["addon"]["status"] {
            Value::String(status) if status == "ACTIVE" => Ok(()),
            status => Err(MountError::Addon {
                addon,
                cluster: cluster.clone(),
                status: status.to_string(),
            }),
        }
    }

    /// The name of the pod's role, which it can assume.
    async fn role(&self, namespace: &str) -> Result<String, MountError> {
        let (cluster, account) = (&self.pod.cluster, &self.pod.service_account);
        let asked =
            json!({ "clusterName": cluster, "namespace": namespace, "serviceAccount": account });
        let found = self
            .call("eks", "ListPodIdentityAssociations", asked)
            .await?;
        let ours = found["associations"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|it| it["namespace"] == namespace && it["serviceAccount"] == account.as_str());
        let nobody = || MountError::Association(format!("{cluster}/{namespace}/{account}"));
        let id = ours.ok_or_else(nobody)?["associationId"].clone();
        let asked = json!({ "clusterName": cluster, "associationId": id });
        let found = self
            .call("eks", "DescribePodIdentityAssociation", asked)
            .await?;
        let arn = found["association"]["roleArn"].as_str();
        let name = arn.and_then(|arn| arn.rsplit('/').next());
        let name = name.ok_or_else(nobody)?.to_owned();
        let role = self
            .call("iam", "GetRole", json!({ "RoleName": name }))
            .await?;
        let trust = rights::document(&role["Role"]["AssumeRolePolicyDocument"]);
        if TRUST
            .iter()
            .any(|action| !rights::trusts(&trust, action, "pods.eks.amazonaws.com"))
        {
            return Err(MountError::Trust(name));
        }
        Ok(name)
    }

    async fn policies(&self, role: &str) -> Result<Vec<Value>, MountError> {
        let asked = json!({ "RoleName": role });
        let names = self.call("iam", "ListRolePolicies", asked).await?;
        let mut documents = Vec::new();
        for name in names["PolicyNames"].as_array().into_iter().flatten() {
            let asked = json!({ "RoleName": role, "PolicyName": name });
            let found = self.call("iam", "GetRolePolicy", asked).await?;
            documents.push(rights::document(&found["PolicyDocument"]));
        }
        Ok(documents)
    }

    async fn arn(&self, secret: &str) -> Result<String, MountError> {
        let asked = json!({ "SecretId": secret });
        let found = self.call("secretsmanager", "DescribeSecret", asked).await?;
        Ok(found["ARN"].as_str().unwrap_or_default().to_owned())
    }

    async fn call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, MountError> {
        let asked = self
            .aws
            .call(&self.pod.account, service, operation, params)
            .await;
        asked.map_err(|error| MountError::Aws(self.pod.service_account.clone(), error))
    }
}

// Without the first there are no credentials, without the second no volume.
const ADDONS: [&str; 2] = [
    "eks-pod-identity-agent",
    "aws-secrets-store-csi-driver-provider",
];
const READS: [&str; 2] = [
    "secretsmanager:GetSecretValue",
    "secretsmanager:DescribeSecret",
];
const TRUST: [&str; 2] = ["sts:AssumeRole", "sts:TagSession"];
