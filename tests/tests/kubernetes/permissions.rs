//! The role that `agent permissions` prints is enough, and no more than that.

use std::time::Duration;

use agent::cluster::{ClusterOptions, prepare};
use agent::crd::{CONSUMER, ManifestWork, ManifestWorkSpec};
use agent::permissions::PermissionsOptions;
use anyhow::{Context as _, Result, bail};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::pinned_kind;
use kube::{Api, Client};
use link::id::ConsumerName;
use serde_json::{Value, from_value, json};
use tests::kubernetes::Cluster;
use tests::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

fn code<T>(outcome: Result<T, kube::Error>) -> u16 {
    match outcome {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(_) => 0,
    }
}

fn work(name: &str, consumer: &str, spec: Value) -> Result<ManifestWork> {
    let mut work = ManifestWork::new(name, from_value::<ManifestWorkSpec>(spec)?);
    let labels = [(CONSUMER.to_owned(), consumer.to_owned())];
    work.metadata.labels = Some(labels.into());
    Ok(work)
}

async fn apply(client: &Client, page: &str) -> Result<()> {
    for document in page.split("---\n") {
        let object: DynamicObject = serde_saphyr::from_str(document)?;
        let types = object.types.clone().context("a kind")?;
        let kind = GroupVersionKind::try_from(types)?;
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        api.create(&PostParams::default(), &object).await?;
    }
    Ok(())
}

#[tokio::test]
async fn printed_role_is_enough_for_the_works_and_for_nothing_else() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.namespace("permissions").await?;
    let consumer = ConsumerName::new(&namespace)?;
    let options = ClusterOptions {
        kubeconfig: Some(cluster.kubeconfig().to_owned()),
        namespace: Some(namespace.clone()),
        ..ClusterOptions::new(&namespace)
    };
    if let Err(failure) = prepare(options.clone()).await {
        bail!("{failure}");
    }
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "map", "namespace": "default" },
    });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "default" },
    });
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": "web", "namespace": "default" },
    });
    let read_only = json!([{
        "resourceIdentifier": {
            "group": "apps", "resource": "deployments", "namespace": "*", "name": "*",
        },
        "updateStrategy": { "type": "ReadOnly" },
    }]);
    let works: Api<ManifestWork> = Api::namespaced(client.clone(), &namespace);
    let list = ListParams::default();
    wait_for("the kind", PATIENCE, async || works.list(&list).await).await?;
    for (name, label, spec) in [
        (
            "map",
            namespace.as_str(),
            json!({ "workload": { "manifests": [map] } }),
        ),
        (
            "observed",
            namespace.as_str(),
            json!({ "workload": { "manifests": [deployment] }, "manifestConfigs": read_only }),
        ),
        (
            "other",
            "somebody-else",
            json!({ "workload": { "manifests": [account] } }),
        ),
    ] {
        let work = work(name, label, spec)?;
        works.create(&PostParams::default(), &work).await?;
    }

    let mut page = Vec::new();
    let permissions = PermissionsOptions {
        cluster: options,
        consumer,
        service_account: Some(format!("{namespace}/agent")),
    };
    if let Err(failure) = permissions.run(&mut page).await {
        bail!("{failure}");
    }
    let page = String::from_utf8(page)?;
    assert!(page.contains("2 works"), "{page}");
    apply(&client, &page).await?;

    let agent = cluster
        .client_as(&format!("system:serviceaccount:{namespace}:agent"))
        .await?;
    let api = async |group: &str, kind: &str| {
        let kind = GroupVersionKind::gvk(group, "v1", kind);
        let (resource, _) = pinned_kind(&agent, &kind).await?;
        let name = namespace.as_str();
        anyhow::Ok(Api::<DynamicObject>::namespaced_with(
            agent.clone(),
            name,
            &resource,
        ))
    };
    let maps = api("", "ConfigMap").await?;
    // The authorizer reads roles from a cache.
    wait_for("the role", PATIENCE, async || maps.list(&list).await).await?;
    let object =
        |kind: &str| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "a" } });
    let params = PatchParams::apply("work-agent").force();
    let patch = Patch::Apply(object("ConfigMap"));
    assert_eq!(
        code(maps.patch("a", &params, &patch).await),
        200,
        "apply that creates"
    );
    assert_eq!(code(maps.get("a").await), 200);
    assert_eq!(code(maps.watch(&WatchParams::default(), "0").await), 200);
    let replaced = from_value(object("ConfigMap"))?;
    let replace = maps.replace("a", &PostParams::default(), &replaced).await;
    assert_eq!(code(replace), 403, "no work uses `Update`");
    assert_eq!(code(maps.delete("a", &DeleteParams::default()).await), 200);

    let deployments = api("apps", "Deployment").await?;
    assert_eq!(code(deployments.list(&list).await), 200);
    assert_eq!(
        code(deployments.watch(&WatchParams::default(), "0").await),
        200
    );
    let delete = deployments.delete("a", &DeleteParams::default()).await;
    assert_eq!(code(delete), 403, "it is only observed");

    let own = api("work.open-cluster-management.io", "ManifestWork").await?;
    // By another role than the first.
    wait_for("the role", PATIENCE, async || own.list(&list).await).await?;
    let patch = Patch::Merge(json!({ "status": {} }));
    let status = own
        .patch_status("map", &PatchParams::default(), &patch)
        .await;
    assert_eq!(code(status), 200);

    for kind in ["Secret", "ServiceAccount"] {
        let others = api("", kind).await?;
        assert_eq!(code(others.list(&list).await), 403, "{kind}");
        let patch = Patch::Apply(object(kind));
        assert_eq!(
            code(others.patch("a", &params, &patch).await),
            403,
            "{kind}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn account_that_is_none_is_refused_before_the_cluster_is_asked() -> Result<()> {
    let options = PermissionsOptions {
        cluster: ClusterOptions::new("cluster1"),
        consumer: ConsumerName::new("cluster1")?,
        service_account: Some("agent".into()),
    };
    let failure = options.run(&mut Vec::new()).await.unwrap_err();
    assert_eq!(failure.to_string(), "`agent` is no service account");
    assert_eq!(failure.hint(), Some("write it as `NAMESPACE/NAME`"));
    Ok(())
}
