//! Stuck in the cluster, as a scripted agent reports it; with an API server `tests/tests/kubernetes/refusals/explained.rs`.

use anyhow::{Result, ensure};
use tests::scripted_agent::{ScriptedAgent, condition, manifest};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_of_objects_is_told_with_what_is_in_their_way() -> Result<()> {
    let (region, api) = start("explain-cluster").await?;
    api.create_consumer("cluster9").await?;
    let mut agent = ScriptedAgent::new(region.peer("scripted", &[])?, "cluster9")?;
    let id = post(&api, "cluster9", "a").await?;
    told(&api, &id, "MQ905", &[]).await?;
    let conflict = "Failed to apply manifest: apply Deployment shop/web: conflict with `hpa`: .spec.replicas; hint: set `force: true`";
    let work = [condition(
        "Applied",
        "False",
        "Failed to apply manifest work",
    )];
    let failed = [condition("Applied", "False", conflict)];
    agent
        .reports(&id, 1, &work, &[manifest("Deployment", "web", &failed)])
        .await?;
    let story = told(
        &api,
        &id,
        "MQ908",
        &[
            "Deployment shop/web (apply)",
            "field manager `hpa`",
            "set `force: true`",
        ],
    )
    .await?;
    ensure!(
        story["conditions"][1]["object"] == "Deployment shop/web",
        "{story}"
    );
    let applied = condition("Applied", "True", "");
    let missing = condition("Available", "False", "1 of 1 resources are not available");
    let lacking = [condition("Available", "False", "Resource is not available")];
    agent
        .reports(
            &id,
            1,
            &[applied.clone(), missing],
            &[manifest("Deployment", "web", &lacking)],
        )
        .await?;
    told(
        &api,
        &id,
        "MQ909",
        &["Deployment shop/web", "kubectl describe"],
    )
    .await?;
    let available = condition("Available", "True", "");
    agent
        .reports(&id, 1, &[applied.clone(), available], &[])
        .await?;
    well(&api, &id).await?;
    api.delete_bundle(&id).await?;
    told(&api, &id, "MQ910", &[]).await?;
    let held = "ConfigMap shop/a waits for finalizer `example.com/hold`";
    let deleting = condition("Deleting", "True", "ManifestWork is being deleted");
    let waits = [condition("Deleting", "True", held)];
    agent
        .reports(
            &id,
            1,
            &[applied, deleting],
            &[manifest("ConfigMap", "a", &waits)],
        )
        .await?;
    told(
        &api,
        &id,
        "MQ910",
        &["`example.com/hold`", "controller behind the finalizer"],
    )
    .await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_holds_a_newer_version_is_told_from_one_that_refuses() -> Result<()> {
    let (region, api) = start("explain-ahead").await?;
    api.create_consumer("cluster9").await?;
    let mut agent = ScriptedAgent::new(region.peer("ahead", &[])?, "cluster9")?;
    let id = post(&api, "cluster9", "a").await?;
    told(&api, &id, "MQ905", &[]).await?;
    // Another bridge outbids this one, which after three times holds back.
    let mut version = 1;
    let story = wait_for("the newer version in the story", PATIENCE, async || {
        let told = story(&api, &id)
            .await
            .map_err(|error| format!("{error:#}"))?;
        if says(
            &told,
            "MQ912",
            &["holds a newer version", "no other bridge"],
        ) {
            return Ok(told);
        }
        let held = told["subject"]["version"].as_i64().unwrap_or_default() + 1;
        if held > version {
            version = held;
            let applied = [condition("Applied", "True", "")];
            let reported = agent.reports(&id, held, &applied, &[]).await;
            reported.map_err(|error| format!("{error:#}"))?;
        }
        Err(told.to_string())
    })
    .await?;
    ensure!(story["waiting"]["hop"] == "reported", "{story}");
    // That the cluster holds it is stored before the bundle is raised above it.
    let raised = wait_for("what was raised", PATIENCE, async || {
        let consumer = read(&api, "/consumers/cluster9/explain").await?;
        let raised = consumer["lane"]["raised"].as_array();
        ensure!(
            raised.is_some_and(|raised| !raised.is_empty()),
            "{consumer}"
        );
        anyhow::Ok(())
    });
    raised.await?;
    region.passed();
    Ok(())
}
