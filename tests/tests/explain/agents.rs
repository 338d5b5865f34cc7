//! Stuck between the broker and the agent.

use anyhow::{Result, ensure};
use link::event::agent_report::{AgentReport, SpecRefusal};
use link::order::Version;
use tests::peer_events::{condition, now};
use tests::scripted_agent::{ScriptedAgent, self_report};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_never_heard_is_told_from_one_that_went() -> Result<()> {
    let (mut region, api) = start("explain-away").await?;
    api.create_consumer("cluster9").await?;
    let nobody = post(&api, "cluster9", "a").await?;
    told(
        &api,
        &nobody,
        "MQ905",
        &["nothing was ever heard of an agent of `cluster9`"],
    )
    .await?;
    let (before, id) = around_the_end(&mut region, &api).await?;
    // One that goes in order is told of by the broker or missed after 20 s.
    let away = told(
        &api,
        &id,
        "MQ904",
        &["the agent of `cluster1`", "`probe doctor`"],
    )
    .await?;
    ensure!(away["waiting"]["hop"] == "received", "{away}");
    ensure!(away["agent"]["last_heard_at"].is_string(), "{away}");
    api.delete_bundle(&before).await?;
    let deletion = told(&api, &before, "MQ904", &["the deletion"]).await?;
    ensure!(deletion["waiting"]["hop"] == "deleted", "{deletion}");
    let consumer = read(&api, "/consumers/cluster1/explain").await?;
    ensure!(
        consumer["counts"]["apply"] == 1 && consumer["counts"]["deletion"] == 1,
        "{consumer}"
    );
    region.agent("cluster1")?.service.restart()?;
    well(&api, &id).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_says_that_nobody_is_subscribed_is_believed() -> Result<()> {
    let mut region = RegionBuilder::new("explain-unmatched", BrokerKind::Mosquitto)
        .start()
        .await?;
    let api = region.api().await?;
    let (_, id) = around_the_end(&mut region, &api).await?;
    let read = async || story(&api, &id).await;
    let unheard = until("0x10 in the story", read, |story| {
        says(story, "MQ903", &["nobody was subscribed"]) || says(story, "MQ904", &[])
    })
    .await?;
    let acknowledged = &unheard["hops"][2];
    ensure!(acknowledged["note"] == "nobody was subscribed", "{unheard}");
    region.agent("cluster1")?.service.restart()?;
    well(&api, &id).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_talks_and_keeps_silent_about_a_version_is_told_as_one() -> Result<()> {
    let (region, api) = start("explain-unanswered").await?;
    api.create_consumer("cluster9").await?;
    // A scripted agent, as a Go one that drops what it refuses.
    let mut agent = ScriptedAgent::new(region.peer("silent", &[])?, "cluster9")?;
    let spoken = post(&api, "cluster9", "spoken").await?;
    let dropped = post(&api, "cluster9", "dropped").await?;
    told(&api, &dropped, "MQ905", &[]).await?;
    agent
        .reports(&spoken, 1, &[condition("Applied")], &[])
        .await?;
    let words = ["talks and has not reported on version 1", "a Go agent"];
    told(&api, &dropped, "MQ907", &words).await?;
    told(&api, &spoken, "MQ909", &["not yet that it is available"]).await?;
    api.delete_bundle(&dropped).await?;
    let deletion = told(&api, &dropped, "MQ910", &[]).await?;
    ensure!(deletion["waiting"]["hop"] == "deleted", "{deletion}");
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_refuses_is_told_in_its_words() -> Result<()> {
    let (region, api) = start("explain-refusal").await?;
    api.create_consumer("cluster9").await?;
    let agent = ScriptedAgent::new(region.peer("refusing", &[])?, "cluster9")?;
    let id = post(&api, "cluster9", "a").await?;
    told(&api, &id, "MQ905", &[]).await?;
    let refusal = SpecRefusal {
        resource_id: id.clone(),
        resource_version: Version::new(1),
        at: now(),
        reason: "foreign_source".into(),
        message: "source `maestro` is none that this agent takes".into(),
    };
    let report = AgentReport {
        refusals: vec![refusal],
        ..self_report("1.4.0")
    };
    agent.is(report).await?;
    let words = [
        "the agent of `cluster9` refuses version 1",
        "is none that this agent takes",
        "`--allow-source`",
    ];
    let refused = told(&api, &id, "MQ906", &words).await?;
    ensure!(refused["agent"]["version"] == "1.4.0", "{refused}");
    let beside = verb_story(&region, &id).await?;
    ensure!(says(&beside, "MQ906", &words), "{beside}");
    // A newer version may be the cure.
    let change = Change::of(1, vec![config_map("a", "changed")]);
    api.change_bundle(&id, &change).await?;
    told(&api, &id, "MQ907", &[]).await?;
    region.passed();
    Ok(())
}

/// A bundle of before the agent of `cluster1` went and one of after; it goes in order, so that no session of it stays.
async fn around_the_end(region: &mut Region, api: &Api) -> Result<(String, String)> {
    let before = post(api, "cluster1", "before").await?;
    well(api, &before).await?;
    let agent = region.agent("cluster1")?;
    agent.service.process().stop(PATIENCE).await?;
    let after = post(api, "cluster1", "after").await?;
    Ok((before, after))
}
