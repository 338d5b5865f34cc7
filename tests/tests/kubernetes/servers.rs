//! The harness' Kubernetes servers are what they say: real rules, real controllers, an honest log, and no orphans.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, from_value, json};
use tests::kubernetes::Cluster;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;
use tests::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

fn config_map(name: &str, color: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name },
        "data": { "color": color },
    })
}

async fn create(client: &Client, namespace: &str, name: &str) -> Result<ConfigMap> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = from_value(config_map(name, "red"))?;
    Ok(maps.create(&PostParams::default(), &map).await?)
}

#[tokio::test]
async fn every_namespace_is_a_fresh_one() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let first = cluster.namespace("fresh").await?;
    let second = cluster.namespace("fresh").await?;
    assert_ne!(first, second);
    Ok(())
}

#[tokio::test]
async fn a_conflict_names_the_other_field_manager() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("conflict").await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &namespace);
    let apply = async |manager, color| {
        let map = config_map("paint", color);
        let params = PatchParams::apply(manager);
        maps.patch("paint", &params, &Patch::Apply(map)).await
    };
    apply("somebody-else", "red").await?;
    let error = apply("us", "blue").await.unwrap_err();
    let kube::Error::Api(status) = error else {
        return Err(error.into());
    };
    assert_eq!(status.code, 409);
    assert!(
        status.message.contains(r#"conflict with "somebody-else""#),
        "{}",
        status.message
    );
    Ok(())
}

#[tokio::test]
async fn a_user_may_do_only_what_a_binding_allows() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("rights").await?;
    let user = format!("user-of-{namespace}");
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client_as(&user).await?, &namespace);
    let refused = maps.list(&ListParams::default()).await.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 403 && status.message.contains(&user)),
        "{refused}"
    );

    let bindings: Api<RoleBinding> = Api::namespaced(cluster.client().await?, &namespace);
    let binding = from_value(json!({
        "metadata": { "name": "viewer" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    }))?;
    bindings.create(&PostParams::default(), &binding).await?;
    // The authorizer reads bindings and the aggregated rules of `view` from caches.
    wait_for("the right to list", PATIENCE, async || {
        maps.list(&ListParams::default()).await
    })
    .await?;
    let written = maps
        .create(
            &PostParams::default(),
            &from_value(config_map("map", "red"))?,
        )
        .await;
    assert!(written.is_err(), "`view` does not allow to create");
    Ok(())
}

#[tokio::test]
async fn objects_go_with_their_owner() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("owner").await?;
    let client = cluster.client().await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let owner = create(&client, &namespace, "owner").await?;
    let mut owned = config_map("owned", "red");
    owned["metadata"]["ownerReferences"] = json!([
        { "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid() }
    ]);
    maps.create(&PostParams::default(), &from_value(owned)?)
        .await?;
    maps.delete("owner", &DeleteParams::default()).await?;
    gone(&maps, "owned").await
}

#[tokio::test]
async fn a_deleted_namespace_takes_its_objects_along() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("doomed").await?;
    let client = cluster.client().await?;
    create(&client, &namespace, "inside").await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .delete(&namespace, &DeleteParams::default())
        .await?;
    gone(&Api::<ConfigMap>::namespaced(client, &namespace), "inside").await?;
    gone(&namespaces, &namespace).await
}

#[tokio::test]
async fn a_deployment_makes_pods() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("pods").await?;
    let client = cluster.client().await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let labels = json!({ "app": "web" });
    let deployment = from_value(json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "web", "image": "web" }] },
            },
        },
    }))?;
    deployments
        .create(&PostParams::default(), &deployment)
        .await?;
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    wait_for("two pods", PATIENCE, async || {
        let pods = pods.list(&ListParams::default()).await?.items.len();
        ensure!(pods == 2, "{pods} pods");
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn the_audit_log_has_each_request_once() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("audit").await?;
    let client = cluster.client_called("counted/1.0").await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    create(&client, &namespace, "before").await?;

    let audit = cluster.audit().await?;
    let mark = audit.mark().await?;
    create(&client, &namespace, "map").await?;
    maps.get_status("map").await.unwrap_err();
    let watch = maps.watch(&Default::default(), "0").await?;
    drop(watch);
    maps.delete("map", &DeleteParams::default()).await?;
    let entries = audit.since(mark).await?;

    let ours: Vec<_> = entries
        .iter()
        .filter(|entry| entry.user_agent == "counted/1.0")
        .inspect(|entry| assert_eq!((&*entry.user, &entry.namespace), ("admin", &namespace)))
        .map(|entry| {
            assert_eq!(entry.resource, "configmaps");
            let what = format!("{} {} {}", entry.verb, entry.name, entry.subresource);
            (what.trim().to_owned(), entry.code)
        })
        .collect();
    let expected = [
        ("create map", 201),
        ("get map status", 404),
        ("watch", 200),
        ("delete map", 200),
    ];
    assert_eq!(ours, expected.map(|(what, code)| (what.to_owned(), code)));
    Ok(())
}

#[tokio::test]
async fn objects_outlive_the_api_server() -> Result<()> {
    let test_dir = TestDir::new("kubernetes-restart")?;
    let mut cluster = Cluster::start(test_dir.path()).await?;
    let namespace = cluster.namespace("kept").await?;
    let client = cluster.client().await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    create(&client, &namespace, "stopped").await?;

    cluster.stop_api().await?;
    maps.get("stopped").await.unwrap_err();
    cluster.start_api().await?;
    maps.get("stopped").await?;

    create(&client, &namespace, "killed").await?;
    cluster.kill_api()?;
    cluster.start_api().await?;
    maps.get("killed").await?;
    drop(cluster);
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn servers_end_with_a_killed_process() -> Result<()> {
    let test_dir = TestDir::new("kubernetes-orphans")?;
    let program = env!("CARGO_BIN_EXE_cluster").into();
    let mut starter =
        ProcessSpec::at("cluster", program, "run `cargo build -p tests`").start(test_dir.path())?;
    starter
        .line_with("kube-controller-manager: process ", PATIENCE)
        .await?;
    let output = starter.stdout();
    let values = |key: &'static str| {
        let value = move |line: &str| line.split_once(key).map(|(_, value)| value.to_owned());
        output.lines().filter_map(value).collect::<Vec<_>>()
    };
    let servers = values(": process ");
    assert_eq!(servers.len(), 3, "{output}");
    assert!(servers.iter().all(|id| runs(id)), "{output}");
    let kubeconfig = values("KUBECONFIG=").pop().context("a kubeconfig")?;
    let home = Path::new(&kubeconfig).parent().context("its directory")?;
    assert!(home.is_dir());

    starter.kill()?;
    wait_for("the end of the servers", PATIENCE, async || {
        let left: Vec<_> = servers.iter().filter(|id| runs(id)).collect();
        ensure!(left.is_empty(), "processes {left:?} run");
        ensure!(!home.exists(), "their files are there");
        Ok(())
    })
    .await?;
    test_dir.passed();
    Ok(())
}

/// Whether a process runs; one that has ended and that nobody waits for has no command line any more.
fn runs(process: &str) -> bool {
    let command_line = std::fs::read(format!("/proc/{process}/cmdline"));
    command_line.is_ok_and(|line| !line.is_empty())
}

async fn gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    wait_for("its end", PATIENCE, async || {
        ensure!(api.get_opt(name).await?.is_none(), "`{name}` is there");
        Ok(())
    })
    .await?;
    Ok(())
}
