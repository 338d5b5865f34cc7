//! An agent that may not do everything says so, and watches as well as it may.

use agent::applier::ApplierErrorKind;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

use super::*;

/// An agent that may keep its records, and in its namespace what `rules` say.
async fn restricted(name: &str, rules: Value) -> Result<Bench> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    install(&client).await?;
    let namespace = cluster.namespace(name).await?;
    let user = format!("agent-of-{namespace}");
    let subjects = json!([{"apiGroup": RBAC, "kind": "User", "name": user}]);
    let reference = |kind: &str| json!({"apiGroup": RBAC, "kind": kind, "name": namespace});
    let metadata = json!({"name": namespace});
    let records = json!([{
        "apiGroups": ["work.open-cluster-management.io"],
        "resources": ["appliedmanifestworks", "appliedmanifestworks/status"], "verbs": ["*"],
    }]);
    let post = PostParams::default();
    Api::<ClusterRole>::all(client.clone())
        .create(
            &post,
            &serde_json::from_value(json!({"metadata": metadata, "rules": records}))?,
        )
        .await?;
    Api::<ClusterRoleBinding>::all(client.clone())
        .create(
            &post,
            &serde_json::from_value(
                json!({"metadata": metadata, "roleRef": reference("ClusterRole"), "subjects": subjects}),
            )?,
        )
        .await?;
    Api::<Role>::namespaced(client.clone(), &namespace)
        .create(
            &post,
            &serde_json::from_value(json!({"metadata": metadata, "rules": rules}))?,
        )
        .await?;
    Api::<RoleBinding>::namespaced(client.clone(), &namespace)
        .create(
            &post,
            &serde_json::from_value(
                json!({"metadata": metadata, "roleRef": reference("Role"), "subjects": subjects}),
            )?,
        )
        .await?;
    let user = cluster.client_as(&user).await?;
    let works = applied_works(&user);
    let list = async || works.list(&kube::api::ListParams::default()).await;
    wait_for("the right to list", PATIENCE, list).await?;
    // Each authorizer's part comes by a watch of its own.
    let maps: Api<ConfigMap> = Api::namespaced(user.clone(), &namespace);
    let read = async || maps.get_opt("not-there").await;
    wait_for("the right to read", PATIENCE, read).await?;
    Bench::of(client, user, namespace, &[]).await
}

#[tokio::test]
async fn what_the_agent_may_not_do_is_told_in_the_servers_words() -> Result<()> {
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "create"]}]);
    let bench = restricted("rights", rules).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": bench.namespace},
    });
    let looks = [
        (secret, Strategy::Default),
        (bench.map("a", "red"), Strategy::Default),
    ];
    let mut outcomes = bench.look("w", &looks).await?;
    let error = outcomes.remove(0).unwrap_err();
    assert_eq!(error.kind, ApplierErrorKind::Forbidden);
    assert!(
        error.message.contains("cannot patch resource \"secrets\""),
        "{error}"
    );
    outcomes.remove(0)?;

    let error = bench.give_up("v", Release::Remove).await;
    assert!(error.is_err(), "nothing is held");
    let held = bench.applier.claim(&"w".into(), &[]).await?;
    let map = held.iter().find(|held| held.name == "a").context("held")?;
    let refused = bench
        .applier
        .release(&"w".into(), map, Release::Remove)
        .await
        .unwrap_err();
    assert_eq!(refused.kind, ApplierErrorKind::Forbidden);
    assert!(
        refused.message.contains("cannot delete resource"),
        "{refused}"
    );
    Ok(())
}

#[tokio::test]
async fn where_the_cluster_may_not_be_watched_the_namespace_is() -> Result<()> {
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]);
    let mut bench = restricted("narrow", rules).await?;
    bench.watched().await?;
    bench
        .woken_soon("a", async |bench, color| {
            bench.edit("a", json!({"data": {"color": color}})).await
        })
        .await
}

#[tokio::test]
async fn where_nothing_may_be_watched_objects_are_read() -> Result<()> {
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "create"]}]);
    let mut bench = restricted("read", rules).await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    bench.edit("a", json!({"data": {"color": "green"}})).await?;
    bench.woken("a").await?;
    Ok(())
}

const RBAC: &str = "rbac.authorization.k8s.io";
