//! Whether the executor of a work may do what the work asks (docs/MAESTRO.md §6.5).
//!
//! The agent applies with its own rights, which are many; a work that names a service account must not get more done
//! than that account could do itself. Before an object is touched the API server is asked about every verb that
//! applying may take. Objects that give rights are moreover created under impersonation without effect, because the
//! server refuses there what a review does not show: to give away rights that one does not have.
//!
//! Only "yes" is remembered, for [`REMEMBERED`]: rights that are taken away count at the latest then, rights that are
//! given count at once. A first question leaves out the name, which to the API server means every name; so a work with a
//! hundred ConfigMaps costs as many reviews as one with a single ConfigMap.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use http::HeaderValue;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::{PostParams, Request};
use kube::{Api, Client};
use link::bundle::ServiceAccount;
use link::bundle::manifest::ObjectRef;
use serde_json::Value;
use tokio::time::Instant;

use crate::applier::{ApplierError, ApplierErrorKind};
use crate::cluster::error_message;

/// Asks the API server for the rights of executors and remembers what they may do.
pub struct Executor {
    client: Client,
    allowed: Mutex<HashMap<Permission, Instant>>,
}

/// One object that an executor is to apply.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// Whose rights count.
    pub account: &'a ServiceAccount,
    /// Which object.
    pub object: &'a ObjectRef,
    /// Its plural resource name.
    pub resource: &'a str,
    /// Whether the work owns the object, so that it may delete it one day.
    pub owned: bool,
    /// What it should be.
    pub manifest: &'a Value,
}

/// May this account do that? An empty name stands for every name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Permission {
    account: String,
    verb: &'static str,
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

// === impl Executor ===

impl Executor {
    /// Asks with the agent's own rights.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            allowed: Mutex::default(),
        }
    }

    /// Whether the account may apply the object now.
    ///
    /// # Errors
    /// [`ApplierErrorKind::NotAllowed`] when it may not; another kind when that cannot be determined.
    pub async fn check(
        &self,
        request: AccessRequest<'_>,
        now: Instant,
    ) -> Result<(), ApplierError> {
        let permissions = verbs(request.owned).map(|verb| Permission::new(&request, verb));
        let answers = permissions.map(|permission| self.may(request.object, permission, now));
        let allowed = try_join_all(answers).await?;
        if allowed.contains(&false) {
            self.forget(request.account);
            return Err(not_allowed(&request, None));
        }
        if gives_rights(request.object) {
            self.dry_run(&request).await?;
        }
        Ok(())
    }

    async fn may(
        &self,
        object: &ObjectRef,
        permission: Permission,
        now: Instant,
    ) -> Result<bool, ApplierError> {
        let any_name = Permission {
            name: String::new(),
            ..permission.clone()
        };
        let mut permissions = vec![any_name, permission];
        permissions.dedup();
        if permissions
            .iter()
            .any(|permission| self.recalls(permission, now))
        {
            return Ok(true);
        }
        for permission in permissions {
            if self.review(object, &permission).await? {
                self.remember(permission, now);
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn review(
        &self,
        object: &ObjectRef,
        permission: &Permission,
    ) -> Result<bool, ApplierError> {
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews
            .create(&PostParams::default(), &permission.review())
            .await
            .map_err(|error| undecided(object, &error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Creates the object as the account would, without effect. It is judged before it is looked for, so one that is
    /// there already is no obstacle.
    async fn dry_run(&self, request: &AccessRequest<'_>) -> Result<(), ApplierError> {
        let object = request.object;
        let mut manifest = request.manifest.clone();
        if let Some(Value::Object(metadata)) = manifest.get_mut("metadata") {
            metadata.retain(|field, _| !matches!(field.as_str(), "uid" | "resourceVersion"));
        }
        let unusable = |why: String| ApplierError {
            kind: ApplierErrorKind::Invalid,
            message: format!("check the executor of {object}: {why}"),
        };
        let body = serde_json::to_vec(&manifest).map_err(|error| unusable(error.to_string()))?;
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let mut call = Request::new(collection(object, request.resource))
            .create(&params, body)
            .map_err(|error| unusable(error.to_string()))?;
        // Without groups: the server gives a service account its own, and asks only for the right to be the account.
        let user = HeaderValue::from_str(&user(request.account))
            .map_err(|error| unusable(error.to_string()))?;
        call.headers_mut().insert(IMPERSONATE_USER, user);
        match self.client.request::<Value>(call).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(kube::Error::Api(status))
                if status.is_forbidden() && !status.message.contains("cannot impersonate") =>
            {
                self.forget(request.account);
                Err(not_allowed(request, Some(&status.message)))
            }
            Err(error) => Err(undecided(object, &error)),
        }
    }

    fn recalls(&self, permission: &Permission, now: Instant) -> bool {
        let allowed = self.allowed();
        allowed.get(permission).is_some_and(|until| now < *until)
    }

    fn remember(&self, permission: Permission, now: Instant) {
        let mut allowed = self.allowed();
        if allowed.len() >= CAPACITY {
            allowed.retain(|_, until| now < *until);
        }
        if allowed.len() >= CAPACITY {
            allowed.clear();
        }
        allowed.insert(permission, now + REMEMBERED);
    }

    /// Somebody changed the account's rights, so what else is known of it may be wrong too.
    fn forget(&self, account: &ServiceAccount) {
        let user = user(account);
        self.allowed()
            .retain(|permission, _| permission.account != user);
    }

    fn allowed(&self) -> MutexGuard<'_, HashMap<Permission, Instant>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Permission ===

impl Permission {
    fn new(request: &AccessRequest<'_>, verb: &'static str) -> Self {
        Self {
            account: user(request.account),
            verb,
            group: request.object.group.clone(),
            resource: request.resource.to_owned(),
            namespace: request.object.namespace.clone(),
            name: request.object.name.clone(),
        }
    }

    fn review(&self) -> SubjectAccessReview {
        let account_namespace = self.account.split(':').nth(2).unwrap_or_default();
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(self.account.clone()),
                groups: Some(vec![
                    "system:serviceaccounts".into(),
                    "system:authenticated".into(),
                    format!("system:serviceaccounts:{account_namespace}"),
                ]),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(self.verb.into()),
                    group: Some(self.group.clone()),
                    resource: Some(self.resource.clone()),
                    namespace: Some(self.namespace.clone()),
                    name: Some(self.name.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        }
    }
}

/// Whether such objects give rights to somebody.
pub(crate) fn gives_rights(object: &ObjectRef) -> bool {
    object.group == "rbac.authorization.k8s.io"
        && matches!(
            object.kind.as_str(),
            "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding"
        )
}

fn verbs(owned: bool) -> impl Iterator<Item = &'static str> {
    ["create", "update", "patch", "get"]
        .into_iter()
        .chain(owned.then_some("delete"))
}

fn user(account: &ServiceAccount) -> String {
    format!(
        "system:serviceaccount:{}:{}",
        account.namespace, account.name
    )
}

fn collection(object: &ObjectRef, resource: &str) -> String {
    let ObjectRef {
        group,
        version,
        namespace,
        ..
    } = object;
    if namespace.is_empty() {
        format!("/apis/{group}/{version}/{resource}")
    } else {
        format!("/apis/{group}/{version}/namespaces/{namespace}/{resource}")
    }
}

/// The message of the Go agent, which people search for.
fn not_allowed(request: &AccessRequest<'_>, escalation: Option<&str>) -> ApplierError {
    let ObjectRef {
        group,
        namespace,
        name,
        ..
    } = request.object;
    let resource = request.resource;
    let escalation = escalation
        .map(|error_message| format!(", error: permission escalation: {error_message}"))
        .unwrap_or_default();
    ApplierError {
        kind: ApplierErrorKind::NotAllowed,
        message: format!(
            "not allowed to apply the resource {group} {resource}, {namespace} {name}{escalation}, will try again in 1m0s"
        ),
    }
}

/// It could not be found out.
fn undecided(object: &ObjectRef, error: &kube::Error) -> ApplierError {
    let (kind, hint) = match error {
        kube::Error::Api(status) if status.is_forbidden() => (
            ApplierErrorKind::Forbidden,
            "; hint: run `agent permissions` to print the role the agent needs to check executors",
        ),
        kube::Error::Api(status) if status.code == 422 || status.code == 400 => {
            (ApplierErrorKind::Invalid, "")
        }
        kube::Error::Api(status) if status.code < 500 && status.code != 429 => {
            (ApplierErrorKind::Refused, "")
        }
        _ => (ApplierErrorKind::Unavailable, ""),
    };
    ApplierError {
        kind,
        message: format!(
            "check the executor of {object}: {}{hint}",
            error_message(error)
        ),
    }
}

const IMPERSONATE_USER: &str = "impersonate-user";

// Answers in memory: five for each (account, resource, namespace), so those of 200 such triples at about 300 bytes.
const CAPACITY: usize = 1000;

/// How long the API server's "yes" counts.
pub const REMEMBERED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
