//! What an executor may do, as a real authorizer sees it.

use std::time::Duration;

use agent::applier::kubernetes::executor::{AccessRequest, Executor, REMEMBERED};
use agent::applier::{ApplierError, ApplierErrorKind};
use anyhow::Result;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use link::bundle::ServiceAccount;
use link::bundle::manifest::ObjectRef;
use serde_json::{Value, from_value, json};
use tests::kubernetes::Cluster;
use tests::wait::wait_for;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace with a service account that may do nothing yet.
struct ExecutorFixture {
    client: Client,
    account: ServiceAccount,
}

impl ExecutorFixture {
    async fn open() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let namespace = cluster.namespace("executor").await?;
        let account = ServiceAccount {
            namespace,
            name: "deployer".into(),
        };
        let client = cluster.client().await?;
        Ok(Self { client, account })
    }

    async fn allow(&self, rules: Value) -> Result<()> {
        let namespace = &self.account.namespace;
        let role = json!({ "metadata": { "name": "deployer" }, "rules": rules });
        let binding = json!({
            "metadata": { "name": "deployer" },
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": "deployer" },
            "subjects": [{ "kind": "ServiceAccount", "name": "deployer", "namespace": namespace }],
        });
        let params = PostParams::default();
        Api::<Role>::namespaced(self.client.clone(), namespace)
            .create(&params, &from_value(role)?)
            .await?;
        Api::<RoleBinding>::namespaced(self.client.clone(), namespace)
            .create(&params, &from_value(binding)?)
            .await?;
        Ok(())
    }

    fn object(&self, group: &str, kind: &str) -> ObjectRef {
        let cluster_scoped = kind.starts_with("Cluster");
        ObjectRef {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            namespace: if cluster_scoped {
                String::new()
            } else {
                self.account.namespace.clone()
            },
            name: "object".into(),
        }
    }

    async fn check(
        &self,
        executor: &Executor,
        object: &ObjectRef,
        manifest: &Value,
        now: Instant,
    ) -> Result<(), ApplierError> {
        let resource = object.plural_guess();
        let request = AccessRequest {
            account: &self.account,
            object,
            resource: &resource,
            owned: true,
            manifest,
        };
        executor.check(request, now).await
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn kind(outcome: &Result<(), ApplierError>) -> Option<&ApplierErrorKind> {
    outcome.as_ref().err().map(|error| &error.kind)
}

#[tokio::test]
async fn executor_may_do_what_its_role_says_until_it_is_revoked() -> Result<()> {
    let fixture = ExecutorFixture::open().await?;
    let executor = Executor::new(fixture.client.clone());
    let map = fixture.object("", "ConfigMap");
    let begun = Instant::now();
    let check = async |now| fixture.check(&executor, &map, &json!({}), now).await;
    let refused = check(begun).await.unwrap_err();
    assert_eq!(refused.kind, ApplierErrorKind::NotAllowed);
    assert_eq!(
        refused.message,
        format!(
            "not allowed to apply the resource  configmaps, {} object, will try again in 1m0s",
            fixture.account.namespace
        )
    );

    let verbs = ["create", "update", "patch", "get", "delete"];
    fixture
        .allow(json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": verbs }]))
        .await?;
    // The authorizer reads roles from a cache.
    wait_for("the right", PATIENCE, async || check(begun).await).await?;

    let bindings: Api<RoleBinding> =
        Api::namespaced(fixture.client.clone(), &fixture.account.namespace);
    bindings
        .delete("deployer", &DeleteParams::default())
        .await?;
    wait_for("the revocation", PATIENCE, async || {
        // A new one each time: a yes out of the authorizer's cache would be remembered.
        let fresh = Executor::new(fixture.client.clone());
        match fixture
            .check(&fresh, &map, &json!({}), begun + 2 * REMEMBERED)
            .await
        {
            Err(error) if error.kind == ApplierErrorKind::NotAllowed => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    check(begun).await?;
    let later = check(begun + REMEMBERED).await;
    assert_eq!(kind(&later), Some(&ApplierErrorKind::NotAllowed));
    Ok(())
}

#[tokio::test]
async fn rights_to_named_objects_are_enough_for_these() -> Result<()> {
    let fixture = ExecutorFixture::open().await?;
    let executor = Executor::new(fixture.client.clone());
    fixture
        .allow(json!([{
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["object"],
            "verbs": ["*"],
        }]))
        .await?;
    let secret = fixture.object("", "Secret");
    let now = Instant::now();
    wait_for("the right", PATIENCE, async || {
        fixture.check(&executor, &secret, &json!({}), now).await
    })
    .await?;
    let other = ObjectRef {
        name: "other".into(),
        ..secret
    };
    let refused = fixture.check(&executor, &other, &json!({}), now).await;
    assert_eq!(kind(&refused), Some(&ApplierErrorKind::NotAllowed));
    Ok(())
}

#[tokio::test]
async fn executor_cannot_give_rights_that_it_does_not_have() -> Result<()> {
    let fixture = ExecutorFixture::open().await?;
    let namespace = &fixture.account.namespace;
    let executor = Executor::new(fixture.client.clone());
    let name = format!("roles-of-{namespace}");
    // May write ClusterRoles, may read ConfigMaps, and nothing else.
    // Not `*`, which would hold `escalate` too.
    let verbs = ["create", "update", "patch", "get", "delete"];
    let role = json!({ "metadata": { "name": name }, "rules": [
        { "apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": verbs },
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] },
    ]});
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": "deployer", "namespace": namespace }],
    });
    let params = PostParams::default();
    Api::<ClusterRole>::all(fixture.client.clone())
        .create(&params, &from_value(role)?)
        .await?;
    Api::<ClusterRoleBinding>::all(fixture.client.clone())
        .create(&params, &from_value(binding)?)
        .await?;

    let object = ObjectRef {
        name: format!("object-of-{namespace}"),
        ..fixture.object(RBAC, "ClusterRole")
    };
    let giving = |resource: &str| {
        json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": "ClusterRole",
            "metadata": { "name": object.name },
            "rules": [{ "apiGroups": [""], "resources": [resource], "verbs": ["get"] }],
        })
    };
    let now = Instant::now();
    wait_for("the right to give what it has", PATIENCE, async || {
        fixture
            .check(&executor, &object, &giving("configmaps"), now)
            .await
    })
    .await?;
    let roles: Api<ClusterRole> = Api::all(fixture.client.clone());
    assert!(
        roles.get_opt(&object.name).await?.is_none(),
        "a rehearsal has no effect"
    );

    let refused = fixture
        .check(&executor, &object, &giving("secrets"), now)
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind, ApplierErrorKind::NotAllowed);
    assert!(
        refused.message.contains("permission escalation: ")
            && refused
                .message
                .contains("is attempting to grant RBAC permissions not currently held"),
        "{refused}"
    );

    // Also when the object is there already.
    let existing = from_value(giving("configmaps"))?;
    roles.create(&params, &existing).await?;
    fixture
        .check(&executor, &object, &giving("configmaps"), now)
        .await?;
    let refused = fixture
        .check(&executor, &object, &giving("secrets"), now)
        .await;
    assert_eq!(kind(&refused), Some(&ApplierErrorKind::NotAllowed));
    Ok(())
}
