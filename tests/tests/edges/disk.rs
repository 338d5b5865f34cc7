//! Disks without a free byte: nothing is acknowledged that was not kept, `/readyz` says it, and everything goes on by
//! itself once there is space.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;
use tests::api::{Change, config_map};
use tests::region::{BrokerKind, RegionBuilder};
use tests::test_dir::TestDir;
use tests::tmpfs::Tmpfs;
use tests::wait::wait_for;

use super::{PATIENCE, applied, goes_on, gone, lives};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_space_for_its_works_acks_nothing_and_goes_on_once_there_is_some()
-> Result<()> {
    let mut region = RegionBuilder::new("edges-agent-full", BrokerKind::Sandbox)
        .start()
        .await?;
    let agent = region.agent("cluster1")?;
    agent.service.kill()?;
    let Some(disk) = Tmpfs::mount(&agent.state, KILOBYTES)? else {
        region.passed();
        return Ok(());
    };
    agent.service.restart()?;
    agent.service.ready().await?;
    let old = goes_on(&mut region, "cluster1", "old").await?;
    let kept = goes_on(&mut region, "cluster1", "kept").await?;
    let api = region.api().await?;

    disk.fill()?;
    let new = Change::create("cluster1", vec![config_map("new", "here")]);
    let new = api.create_bundle(&new).await?.id;
    api.delete_bundle(&old).await?;
    api.change_bundle(&kept, &Change::of(1, vec![config_map("kept", "changed")]))
        .await?;
    let agent = region.agent("cluster1")?;
    agent.service.unready("store").await?;
    let page = agent.service.metrics().await?;
    ensure!(page.count("agent_works", &[]) <= 2, "held without a file");
    let broker = region.broker.sandbox()?;
    wait_for(
        "three messages to wait with the broker",
        PATIENCE,
        async || match broker.backlog(AGENT_CLIENT) {
            Some(waiting) if waiting >= 3 => Ok(()),
            backlog => Err(format!("{backlog:?}")),
        },
    )
    .await?;
    for id in [&new, &old] {
        let bundle = api.bundle(id).await?;
        ensure!(bundle.is_some(), "`{id}` is said to be gone");
    }

    disk.free()?;
    region.ready().await?;
    applied(&api, &new, 1).await?;
    applied(&api, &kept, 2).await?;
    gone(&api, &old).await?;
    // Nothing of the attempts is left to fill the disk.
    let left = tests::fleet::files(disk.path())?;
    let works = left
        .iter()
        .filter(|file| file.parent().is_some_and(|dir| dir.ends_with("works")));
    ensure!(works.count() <= 4, "{left:?}");
    region.agent("cluster1")?.service.kill()?;
    drop(disk);
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_without_space_for_its_database_answers_no_201_and_goes_on_once_there_is_some()
-> Result<()> {
    let test_dir = TestDir::new("edges-bridge-disk")?;
    let Some(disk) = Tmpfs::mount(test_dir.path(), DATABASE_KILOBYTES)? else {
        test_dir.passed();
        return Ok(());
    };
    let mut region = RegionBuilder::new("edges-bridge-full", BrokerKind::Sandbox)
        .database(disk.path().join("bridge.sqlite"))
        .start()
        .await?;
    let kept = goes_on(&mut region, "cluster1", "kept").await?;
    let api = region.api().await?;
    // The agent misses a version, and can only learn of it by asking a bridge that cannot write down that it answers.
    region.agent("cluster1")?.service.kill()?;
    api.change_bundle(&kept, &Change::of(1, vec![config_map("kept", "changed")]))
        .await?;

    disk.fill()?;
    region.agent("cluster1")?.service.restart()?;
    let mut promised = Vec::new();
    let mut refusals = 0;
    wait_for("creates to be refused", PATIENCE, async || {
        let id = format!("filler-{}", promised.len() + refusals);
        // A page each, so that what is left of the log is soon used up.
        let body = json!({
            "id": id,
            "consumer_name": "cluster1",
            "manifests": [config_map(&id, &"x".repeat(4_000))],
        });
        let answer = api
            .raw(Method::POST, "/resource-bundles", Some(&body))
            .await;
        match answer.map_err(|error| error.to_string())? {
            (201, _) => {
                promised.push(id);
                Err("201".to_owned())
            }
            (status, text) if status < 500 => Err(format!("{status} {text}")),
            _ => {
                refusals += 1;
                (refusals >= 3).then_some(()).ok_or("refused".to_owned())
            }
        }
    })
    .await?;
    region.bridge.unready("store").await?;
    lives(&mut region).await?;

    disk.free()?;
    region.bridge.ready().await?;
    applied(&api, &kept, 2).await?;
    goes_on(&mut region, "cluster1", "after").await?;
    // What was answered 201 was kept, over a kill too.
    region.bridge.kill()?;
    region.bridge.restart()?;
    let api = region.api().await?;
    for id in &promised {
        applied(&api, id, 1).await?;
    }
    region.bridge.kill()?;
    drop(disk);
    region.passed();
    test_dir.passed();
    Ok(())
}

const KILOBYTES: u32 = 4 * 1024;
// A log is folded back into its database at 8 MiB.
const DATABASE_KILOBYTES: u32 = 32 * 1024;
const AGENT_CLIENT: &str = "cluster1-work-agent-client";
