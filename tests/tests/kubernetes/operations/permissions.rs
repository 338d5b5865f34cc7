//! An agent with just the role that `agent permissions` prints.

use agent::crd::{AppliedManifestWork, ManifestWork};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, from_value, json};
use tests::api::Change;
use tests::kubernetes::Cluster;
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;
use uuid::Uuid;

use super::{OperationsFixture, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_role_is_enough_for_the_bundles_that_are_there() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let user = format!("agent-{}", &Uuid::new_v4().simple().to_string()[..8]);
    let client = cluster.client().await?;
    let everything = bind(&user, "cluster-admin", &user);
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings
        .create(&PostParams::default(), &from_value(everything)?)
        .await?;
    let builder = RegionBuilder::new("operations-permissions", BrokerKind::Sandbox);
    let mut fixture =
        OperationsFixture::of(cluster, builder.on_cluster_as(cluster, &user)?).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;

    let printed = ProcessSpec::binary("agent")?
        .args(["permissions", "--consumer-name", "cluster1"])
        .args(["--namespace", fixture.work_namespace()?, "--kubeconfig"])
        .arg(cluster.kubeconfig())
        .label("permissions")
        .run(fixture.region.test_dir.path(), PATIENCE)
        .await?;
    ensure!(printed.status.success(), "{printed:?}");
    fixture.region.agent("cluster1")?.service.kill()?;
    grant(&client, &printed.stdout, &user).await?;
    bindings.delete(&user, &DeleteParams::default()).await?;
    // The authorizer reads roles and bindings from caches, each in its own time.
    let theirs = cluster.client_as(&user).await?;
    wait_for("the printed rights and no others", PATIENCE, async || {
        let list = ListParams::default();
        let works: Api<ManifestWork> = Api::namespaced(theirs.clone(), fixture.work_namespace()?);
        works.list(&list).await?;
        Api::<AppliedManifestWork>::all(theirs.clone())
            .list(&list)
            .await?;
        let roles = Api::<ClusterRole>::all(theirs.clone()).list(&list).await;
        ensure!(roles.is_err(), "it may do everything still");
        anyhow::Ok(())
    })
    .await?;
    let mark = cluster.audit().await?.mark().await?;

    let service = &mut fixture.region.agent("cluster1")?.service;
    service.restart()?;
    service.ready().await?;
    // A new version, drift, another bundle of the kind, and deletion.
    fixture.change(&id, 1, "a", "2").await?;
    fixture.applied(&id, 2).await?;
    let drift = json!({ "data": { "value": "drift" } });
    let params = PatchParams::default();
    fixture
        .maps()
        .patch("a", &params, &Patch::Merge(&drift))
        .await?;
    fixture.value("a", Some("2")).await?;
    let other = fixture.post("b", "1").await?;
    fixture.applied(&other, 1).await?;
    fixture.api.delete_bundle(&id).await?;
    fixture.value("a", None).await?;
    let asked = cluster.audit().await?.since(mark).await?;
    let refused: Vec<_> = asked
        .iter()
        .filter(|it| it.user == user && it.code == 403)
        .collect();
    ensure!(refused.is_empty(), "{refused:#?}");

    // Another kind is refused where a person reads it.
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": fixture.namespace },
    });
    let change = Change::create("cluster1", vec![secret]);
    let id = fixture.api.create_bundle(&change).await?.id;
    fixture
        .bundle(&id, "the refusal", |it| {
            let text = it.status.to_string();
            text.contains("forbidden") && text.contains("secrets") && !it.is("Applied")
        })
        .await?;
    fixture.passed();
    Ok(())
}

/// Makes the printed roles and gives them to the user; a rehearsal ends with the test's cluster.
async fn grant(client: &Client, printed: &str, user: &str) -> Result<()> {
    for document in printed.split("---\n") {
        let mut role: Value = serde_saphyr::from_str(document)?;
        let name = role["metadata"]["name"]
            .as_str()
            .context("a name")?
            .to_owned();
        let params = PostParams::default();
        if role["kind"] == "ClusterRole" {
            // The shared cluster may have one of another test.
            role["metadata"]["name"] = format!("{name}-{user}").into();
            let roles: Api<ClusterRole> = Api::all(client.clone());
            roles.create(&params, &from_value(role)?).await?;
            let binding = bind(&format!("{user}-printed"), &format!("{name}-{user}"), user);
            let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
            bindings.create(&params, &from_value(binding)?).await?;
        } else {
            let namespace = role["metadata"]["namespace"]
                .as_str()
                .context("a namespace")?;
            let namespace = namespace.to_owned();
            let roles: Api<Role> = Api::namespaced(client.clone(), &namespace);
            roles.create(&params, &from_value(role)?).await?;
            let mut binding = bind(&name, &name, user);
            binding["roleRef"]["kind"] = "Role".into();
            let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &namespace);
            bindings.create(&params, &from_value(binding)?).await?;
        }
    }
    Ok(())
}

fn bind(name: &str, role: &str, user: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
    })
}
