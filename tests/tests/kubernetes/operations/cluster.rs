//! What `agent crds` prints makes a new cluster ready.

use std::time::Duration;

use agent::crd::{AppliedManifestWork, ManifestWork};
use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use tests::kubernetes::Cluster;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;
use tests::wait::wait_for;

use super::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_definitions_make_a_new_cluster_ready() -> Result<()> {
    let test_dir = TestDir::new("operations-crds")?;
    let cluster = Cluster::start(test_dir.path()).await?;
    let client = cluster.client().await?;
    let printed = ProcessSpec::binary("agent")?
        .arg("crds")
        .run(test_dir.path(), Duration::from_secs(10))
        .await?;
    ensure!(printed.status.success(), "{printed:?}");
    for document in printed
        .stdout
        .split("---\n")
        .filter(|it| !it.trim().is_empty())
    {
        let object: DynamicObject = serde_saphyr::from_str(document)?;
        let kind = GroupVersionKind::try_from(object.types.clone().context("a kind")?)?;
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
        let name = object.metadata.name.clone().unwrap_or_default();
        api.patch(
            &name,
            &PatchParams::apply("kubectl"),
            &Patch::Apply(&object),
        )
        .await?;
    }
    wait_for("both kinds", PATIENCE, async || {
        let list = ListParams::default();
        let works: Api<ManifestWork> = Api::default_namespaced(client.clone());
        let applied: Api<AppliedManifestWork> = Api::all(client.clone());
        works.list(&list).await?;
        applied.list(&list).await?;
        anyhow::Ok(())
    })
    .await?;
    drop(cluster);
    test_dir.passed();
    Ok(())
}
