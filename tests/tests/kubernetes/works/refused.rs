//! What a cluster refuses: one work for its own sake, or all of them, and what is said about it.

use agent::work::{Objects, Store as _};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use link::error::{Hint as _, chain};
use link::id::ConsumerName;
use serde_json::{from_value, json};
use tests::kubernetes::Cluster;
use tests::test_dir::TestDir;
use tests::wait::wait_for;

use super::rig::{PATIENCE, Rig, bundle, commit, install, read, record, say, work};

#[tokio::test]
async fn a_work_too_large_is_rejected_alone() -> Result<()> {
    let rig = Rig::new("large").await?;
    let store = rig.open().await?;
    let large = |bytes: usize| bundle(&"x".repeat(bytes));
    let mut metadata = work("metadata", 1, &bundle("1"));
    metadata.head.metadata = Some("x".repeat(300_000));
    commit(&store, &[work("updated", 1, &bundle("1"))]).await?;
    let works = [
        work("etcd", 1, &large(1_700_000)),
        work("server", 1, &large(4_000_000)),
        metadata,
        work("fine", 1, &bundle("1")),
        work("updated", 2, &large(2_200_000)),
    ];
    commit(&store, &works).await?;
    for (id, why) in [
        ("etcd", "etcdserver: request is too large"),
        ("server", "at most 3145728"),
        ("metadata", "Too long"),
        ("updated", "larger than max"),
    ] {
        for store in [&store, &rig.open().await?] {
            let stored = read(store, id).await?;
            let reason = stored.work.head.rejected.clone().unwrap_or_default();
            ensure!(
                reason.starts_with("the cluster does not take it: ") && reason.contains(why),
                "{id}: {reason}"
            );
            // What was accepted before stays.
            let kept = if id == "updated" {
                bundle("1")
            } else {
                String::new()
            };
            ensure!(
                stored.work.payload == kept,
                "{id}: {:?}",
                stored.work.payload.len()
            );
        }
        say(&store, id, &record(1, "m")).await?;
    }
    assert_eq!(
        read(&store, "fine").await?.work,
        work("fine", 1, &bundle("1"))
    );
    // A version that fits is taken.
    commit(&store, &[work("etcd", 2, &bundle("2"))]).await?;
    assert_eq!(
        read(&rig.open().await?, "etcd").await?.work,
        work("etcd", 2, &bundle("2"))
    );
    Ok(())
}

#[tokio::test]
async fn a_work_that_a_policy_denies_is_rejected_alone() -> Result<()> {
    let rig = Rig::new("policy").await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(rig.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(rig.client.clone());
    let policy = json!({
        "metadata": {"name": rig.namespace},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["work.open-cluster-management.io"], "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"], "resources": ["manifestworks"],
            }]},
            "validations": [{"expression": "size(object.spec.workload.manifests) < 2", "message": "one at a time"}],
        },
    });
    let binding = json!({
        "metadata": {"name": rig.namespace},
        "spec": {
            "policyName": rig.namespace, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": rig.namespace}}},
        },
    });
    policies
        .create(&PostParams::default(), &from_value(policy)?)
        .await?;
    bindings
        .create(&PostParams::default(), &from_value(binding)?)
        .await?;
    let store = rig.open().await?;
    let two = json!({"manifests": [{}, {}]}).to_string();
    // The API server learns of its policies by and by.
    wait_for("the policy", PATIENCE, async || {
        commit(
            &store,
            &[work("denied", 1, &two), work("fine", 1, &bundle("1"))],
        )
        .await?;
        let stored = read(&store, "denied").await?;
        let reason = stored.work.head.rejected.context("it is taken")?;
        ensure!(reason.contains("one at a time"), "{reason}");
        Ok(())
    })
    .await?;
    assert_eq!(read(&store, "fine").await?.work.head.rejected, None);
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() -> Result<()> {
    let mut rig = Rig::new("rights").await?;
    let user = format!("agent-of-{}", rig.namespace);
    let admin = std::mem::replace(&mut rig.client, rig.cluster.client_as(&user).await?);
    let refused =
        |error: agent::work::StoreError| (chain(&error), error.hint().unwrap_or_default());
    let open = async || Objects::open(rig.client.clone(), &rig.namespace, &rig.consumer).await;
    let (text, hint) = refused(open().await.err().context("it has no rights")?);
    assert!(
        text.starts_with(&format!(
            "read ConfigMap `{}/agent-cluster1-state`: ",
            rig.namespace
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "User \"{user}\" cannot get resource \"configmaps\""
        )),
        "{text}"
    );
    assert!(hint.contains("Role"), "{hint}");

    let role = json!({"metadata": {"name": "agent"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]},
        {"apiGroups": ["work.open-cluster-management.io"], "resources": ["manifestworks"], "verbs": ["list"]},
    ]});
    let binding = json!({
        "metadata": {"name": "agent"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "agent"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    let roles: Api<Role> = Api::namespaced(admin.clone(), &rig.namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(admin, &rig.namespace);
    roles
        .create(&PostParams::default(), &from_value(role)?)
        .await?;
    bindings
        .create(&PostParams::default(), &from_value(binding)?)
        .await?;
    let found = wait_for("the rights", PATIENCE, async || open().await).await?;
    // It concerns every work: nothing is rejected, the commit waits.
    let error = found
        .store
        .commit(vec![work("w", 1, &bundle("1"))].into())
        .await;
    let (text, _) = refused(error.err().context("it may not create")?);
    assert!(
        text.contains("cannot create resource \"manifestworks\""),
        "{text}"
    );
    assert!(found.store.index().ids().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_cluster_without_the_kinds_says_how_to_install_them() -> Result<()> {
    let test_dir = TestDir::new("works-kinds")?;
    let cluster = Cluster::start(test_dir.path()).await?;
    let namespace = cluster.namespace("kinds").await?;
    let consumer = ConsumerName::new("cluster1")?;
    let open = async || Objects::open(cluster.client().await.unwrap(), &namespace, &consumer).await;
    let error = open().await.err().context("there are no kinds")?;
    assert_eq!(
        chain(&error),
        format!("list ManifestWork `{namespace}/*`: 404 page not found (HTTP 404)")
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("install the agent's kinds: `agent crds | kubectl apply -f -`")
    );

    install(&cluster).await?;
    let store = open().await?.store;
    commit(&store, &[work("w", 1, &bundle("1"))]).await?;
    // Taken away while the agent runs: nothing counts as gone.
    super::rig::kubectl(
        &cluster,
        &[
            "delete",
            "crd",
            "appliedmanifestworks.work.open-cluster-management.io",
        ],
        "",
    )
    .await?;
    let missing = Objects::open(cluster.client().await?, "nowhere", &consumer).await;
    let error = missing.err().context("there is no such namespace")?;
    assert!(
        chain(&error).contains("namespaces \"nowhere\" not found"),
        "{error}"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("make the namespace, or name another one")
    );
    drop(cluster);
    test_dir.passed();
    Ok(())
}
