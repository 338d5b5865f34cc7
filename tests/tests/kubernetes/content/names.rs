//! What people and Go tools find in the cluster.

use agent::crd::AppliedManifestWork;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_work_that_only_reads_has_an_appliedmanifestwork_as_long_as_it_is_there() -> Result<()> {
    let fixture = Fixture::new("only-reads").await?;
    let map = fixture.map("theirs", json!({ "value": "1" }));
    fixture.create(&map).await?;
    let read_only = json!({ "updateStrategy": { "type": "ReadOnly" } });
    let change = Change {
        manifests: vec![map.clone()],
        manifest_configs: vec![fixture.config("configmaps", "theirs", read_only)],
        ..Change::default()
    };
    let bundle = fixture.post(change.clone()).await?;
    bundle.is_applied().await?;
    let all: Api<AppliedManifestWork> = Api::all(fixture.client.clone());
    let record = async || -> Result<Option<AppliedManifestWork>> {
        let mut list = all.list(&ListParams::default()).await?.items.into_iter();
        Ok(list.find(|it| it.spec.manifest_work_name == bundle.id))
    };
    let first = record().await?.context("it is there")?;
    let status = first.status.clone().unwrap_or_default();
    ensure!(status.applied_resources.is_empty(), "{status:?}");
    // The next version goes on with the same one.
    bundle
        .change_all(Change {
            manifests: vec![map.clone(), fixture.map("ours", json!({ "value": "1" }))],
            ..change.clone()
        })
        .await?;
    bundle.is_applied().await?;
    ensure!(record().await?.context("still")?.uid() == first.uid());
    bundle.change_all(change).await?;
    bundle.is_applied().await?;
    wait_for("what is ours to go", PATIENCE, async || {
        let live = fixture.live(&fixture.map("ours", json!({}))).await?;
        ensure!(live.is_none());
        anyhow::Ok(())
    })
    .await?;
    ensure!(record().await?.context("still")?.uid() == first.uid());
    bundle.goes().await?;
    ensure!(record().await?.is_none(), "it is gone");
    ensure!(fixture.live(&map).await?.is_some(), "theirs is not");
    fixture.region.passed();
    Ok(())
}
