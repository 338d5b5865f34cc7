//! The API server with everybody's definitions, and asking it whether it would take an object as it is.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tests::crds;
use tests::kubernetes::Cluster;
use tests::test_dir::TestDir;
use tokio::sync::OnceCell;

use super::text;

/// A client of the servers that all tests of this program share.
pub(super) async fn client() -> Result<Client> {
    static DEFINED: OnceCell<()> = OnceCell::const_new();
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let define = async || -> Result<()> {
        let test_dir = TestDir::new("deploy-definitions")?;
        crds::define(&client, test_dir.path()).await?;
        test_dir.passed();
        Ok(())
    };
    DEFINED.get_or_try_init(define).await?;
    Ok(client)
}

/// Whether the server would take each of them with every field known, and nothing but that: nothing is made.
pub(super) async fn accepted(client: &Client, objects: &[Value]) -> Result<()> {
    for object in objects {
        if let Some(name) = object["metadata"]["namespace"].as_str() {
            namespace(client, name).await?;
        }
        let taken = match text(&object["kind"]) {
            "Pod" => dry_run(client, &template(object)).await,
            _ => dry_run(client, object).await,
        };
        taken.with_context(|| {
            let name = text(&object["metadata"]["name"]);
            format!("{} {name}", text(&object["kind"]))
        })?;
    }
    Ok(())
}

async fn dry_run(client: &Client, object: &Value) -> Result<()> {
    let api_version = text(&object["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = GroupVersionKind::gvk(group, version, text(&object["kind"]));
    let (resource, capabilities) = pinned_kind(client, &kind).await?;
    let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
        let namespace = object["metadata"]["namespace"].as_str();
        Api::namespaced_with(
            client.clone(),
            namespace.context("names its namespace")?,
            &resource,
        )
    } else {
        Api::all_with(client.clone(), &resource)
    };
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply("argocd-controller")
            .force()
            .validation_strict()
    };
    let name = text(&object["metadata"]["name"]);
    let taken = api.patch(name, &params, &Patch::Apply(object)).await?;
    if group == "external-secrets.io" {
        let spec = &taken.data["spec"];
        ensure!(
            *spec == object["spec"],
            "the server adds what Argo CD would call drift: {spec:#}"
        );
    }
    Ok(())
}

/// A bare pod as a template of it, which is checked alike: admission asks for a pod's account, RuntimeClass and
/// PriorityClass even in a dry run, and those are somebody else's.
fn template(object: &Value) -> Value {
    let metadata = &object["metadata"];
    json!({
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": metadata,
        "template": {"metadata": {"labels": metadata["labels"]}, "spec": object["spec"]},
    })
}

/// What must be there even before a dry run; Argo CD makes it (`CreateNamespace=true`).
async fn namespace(client: &Client, name: &str) -> Result<()> {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    let namespace = Namespace {
        metadata,
        ..Namespace::default()
    };
    let api: Api<Namespace> = Api::all(client.clone());
    match api.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => Ok(other.map(drop)?),
    }
}
