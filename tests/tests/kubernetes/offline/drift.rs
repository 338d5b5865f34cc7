//! How long an object stays as somebody else made it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::DeleteParams;
use serde_json::json;
use tests::kubernetes::Cluster;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::wait_for;

use super::{PATIENCE, View, applied};

#[tokio::test(flavor = "multi_thread")]
async fn what_others_edit_or_delete_is_put_back() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let mut region = RegionBuilder::new("kubernetes-drift", BrokerKind::Sandbox)
        .on_cluster(cluster)
        .start()
        .await?;
    let view = View::open(cluster, "drift").await?;
    let api = region.api().await?;
    let bundle = view.post(&api, "drifts").await?;
    applied(&api, &bundle, 1).await?;

    let mut edits = Vec::new();
    for number in 0..ROUNDS {
        let value = format!("drift {number}");
        view.edit("drifts", json!({ "value": value })).await?;
        let begun = Instant::now();
        view.shows("drifts", "1").await?;
        edits.push(begun.elapsed());
    }
    let bundle = view.post(&api, "goes").await?;
    applied(&api, &bundle, 1).await?;
    let mut deletions = Vec::new();
    for _ in 0..ROUNDS {
        let uid = view.uid("goes").await?;
        let params = DeleteParams::default();
        view.objects.delete("goes", &params).await?;
        let begun = Instant::now();
        wait_for("another object", PATIENCE, async || {
            let object = view.objects.get_opt("goes").await?;
            let object = object.context("no object")?;
            ensure!(object.metadata.uid != Some(uid.clone()), "the old object");
            anyhow::Ok(())
        })
        .await?;
        deletions.push(begun.elapsed());
    }
    println!("an edit is put back after {}", summary(edits));
    println!("a deleted object is back after {}", summary(deletions));
    region.passed();
    Ok(())
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    format!("{median:.0?} (p50), {longest:.0?} (max) of {ROUNDS}")
}

// Fewer than what counts as a fight.
const ROUNDS: usize = 20;
