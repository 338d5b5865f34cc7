//! An agent that may not do everything.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named_and_used_once_it_is_given() -> Result<()> {
    let namespace = Cluster::shared().await?.namespace("restricted").await?;
    let user = format!("agent-of-{namespace}");
    let records = rule(
        &[
            "work.open-cluster-management.io",
            "coordination.k8s.io",
            "events.k8s.io",
        ],
        &["*"],
    );
    let kinds = rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"]);
    let maps = rule(&[""], &["configmaps"]);
    grant(&user, &user, vec![records, kinds, maps]).await?;
    let fixture = Fixture::restricted("restricted", namespace, &user).await?;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "stringData": { "a": "b" } });
    let secret = fixture.manifest("one", secret);
    let denied = |verb: &str| {
        format!(
            "{verb} resource \"secrets\" in API group \"\" in the namespace \"{}\"; hint: let that user",
            fixture.namespace
        )
    };
    let parts = [
        format!(
            "apply Secret {}/one: secrets \"one\" is forbidden: User \"{user}\" cannot ",
            fixture.namespace
        ),
        denied("patch"),
        "hint: let that user `patch` `secrets`; `agent permissions` prints the role".to_owned(),
    ];
    let refused = refused(&fixture, &secret, &parts.each_ref().map(String::as_str)).await?;
    refused
        .bundle
        .says(&[(
            "Available",
            "Unknown ResourcesStatusUnknown: 1 of 2 resources have unknown status",
        )])
        .await?;
    let fetch = [
        "Unknown FetchingResourceFailed: Failed to fetch resource: get Secret ",
        &denied("get"),
    ];
    refused.bundle.says_like("0/Available", &fetch).await?;
    let words = ["Secret", "one (apply)", "`patch` `secrets`"];
    explained::explained(&refused.bundle, "MQ908", &words).await?;

    grant(
        &format!("{user}-secrets"),
        &user,
        vec![rule(&[""], &["secrets"])],
    )
    .await?;
    refused.bundle.is_applied().await?;
    refused
        .bundle
        .says(&[(
            "Available",
            "True ResourcesAvailable: All resources are available",
        )])
        .await?;
    refused.bundle.goes().await?;
    ensure!(fixture.live(&secret).await?.is_none(), "the secret is gone");
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_may_not_be_deleted_keeps_its_bundle_until_it_may() -> Result<()> {
    let namespace = Cluster::shared().await?.namespace("undeletable").await?;
    let user = format!("agent-of-{namespace}");
    let records = rule(
        &[
            "work.open-cluster-management.io",
            "coordination.k8s.io",
            "events.k8s.io",
        ],
        &["*"],
    );
    let kinds = rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"]);
    let mut maps = rule(&[""], &["configmaps"]);
    maps["verbs"] = json!(["get", "list", "watch", "create", "update", "patch"]);
    grant(&user, &user, vec![records, kinds, maps]).await?;
    let fixture = Fixture::restricted("undeletable", namespace, &user).await?;
    let map = fixture.map("one", json!({ "value": "1" }));
    let bundle = fixture.post_manifests(vec![map.clone()]).await?;
    bundle.is_applied().await?;
    bundle.delete().await?;
    let object = format!("ConfigMap {}/one", fixture.namespace);
    let words = format!(
        "{object} cannot be removed: delete {object}: configmaps \"one\" is forbidden: User \"{user}\" cannot delete \
         resource \"configmaps\" in API group \"\" in the namespace \"{}\"; hint: let that user `delete` `configmaps`; \
         `agent permissions` prints the role",
        fixture.namespace
    );
    bundle
        .says(&[
            (
                "Deleting",
                &format!("True WorkDeleting: ManifestWork is being deleted: {words}"),
            ),
            ("0/Deleting", &format!("True DeletionFailed: {words}")),
        ])
        .await?;
    let name = format!("{user}-deletes");
    grant(&name, &user, vec![rule(&[""], &["configmaps"])]).await?;
    bundle.is_gone().await?;
    ensure!(fixture.live(&map).await?.is_none(), "the map is gone");
    fixture.region.passed();
    Ok(())
}

pub(super) fn rule(groups: &[&str], resources: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": ["*"] })
}

pub(super) async fn grant(name: &str, user: &str, rules: Vec<Value>) -> Result<()> {
    let client = Cluster::shared().await?.client().await?;
    let role = json!({ "metadata": { "name": name }, "rules": rules });
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    });
    let params = PostParams::default();
    Api::<ClusterRole>::all(client.clone())
        .create(&params, &serde_json::from_value(role)?)
        .await?;
    Api::<ClusterRoleBinding>::all(client)
        .create(&params, &serde_json::from_value(binding)?)
        .await?;
    Ok(())
}
