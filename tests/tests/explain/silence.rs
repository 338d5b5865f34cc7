//! Agents whose reports stop, without a word of the broker: told apart from those that have nothing to do.

use anyhow::{Result, ensure};
use link::clock::Clock;

use super::database::Database;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_killed_is_away_by_its_missing_reports_and_one_that_rests_is_idle()
-> Result<()> {
    let database = Database::start()?;
    let mut region = RegionBuilder::new("explain-silence", BrokerKind::Sandbox)
        .agents(3)
        .postgres(database.mount())
        .start()
        .await?;
    let api = region.api().await?;
    for cluster in ["cluster1", "cluster2", "cluster3"] {
        let id = post(&api, cluster, cluster).await?;
        well(&api, &id).await?;
        agent(&api, cluster, "idle", "its agent was heard").await?;
    }
    for cluster in ["cluster1", "cluster3"] {
        region.agent(cluster)?.service.kill()?;
    }
    // What it would have answered at once is missed long before its reports are.
    let id = post(&api, "cluster1", "unheard").await?;
    let words = [
        "nothing was heard of the agent of `cluster1` since the broker took version 1",
        "`probe doctor`",
    ];
    told(&api, &id, "MQ904", &words).await?;
    // Who had nothing to say is not told from one that rests for as long as reports are not due.
    agent(&api, "cluster3", "idle", "its agent was heard").await?;

    // Of ten minutes the times are moved, by the microsecond: the bridge has listened all the while, and of the clusters whose
    // agents are dead it heard last 11 minutes ago, of the other one 9 minutes and a half.
    let age = |cluster: &str, seconds: i64| {
        let at = Clock::system().now().as_microsecond() - seconds * 1_000_000;
        let texts = [
            format!(
                "UPDATE bridge.presence SET report_at = {at} WHERE consumer_name = '{cluster}' AND report_at > {at}"
            ),
            format!(
                "UPDATE bridge.consumers SET last_seen_at = {at} WHERE name = '{cluster}' AND last_seen_at > {at}"
            ),
            format!(
                "UPDATE bridge.bundles SET status_taken_at = {at} WHERE consumer_name = '{cluster}' AND status_taken_at > {at}"
            ),
        ];
        database.sql(&texts.join("; ")).map(drop)
    };
    database.sql("UPDATE bridge.listening SET since = since - 1800000000")?;
    wait_for("the dead ones to be away", PATIENCE, async || {
        for (cluster, seconds) in [("cluster1", 660), ("cluster2", 570), ("cluster3", 660)] {
            // What was heard is noted up to a minute late.
            age(cluster, seconds).map_err(|error| error.to_string())?;
        }
        let found = names(&api, "presence=away&orderBy=name").await;
        let found = found.map_err(|error| format!("{error:#}"))?;
        match found == ["cluster1", "cluster3"] {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await?;
    ensure!(names(&api, "presence=idle").await? == ["cluster2"]);
    agent(
        &api,
        "cluster2",
        "idle",
        "Nothing waits: 1 bundle; its agent was heard",
    )
    .await?;
    let gone = "Nothing waits: 1 bundle; its agent is away since ";
    let told_of = agent(&api, "cluster3", "away", gone).await?;
    ensure!(told_of["agent"]["why"] == "REPORTS_MISSING", "{told_of}");
    let words = ["is away since", "its reports of itself are missing"];
    let away = told(&api, &id, "MQ904", &words).await?;
    ensure!(away["agent"]["state"] == "away", "{away}");

    // The same in a terminal, in one request.
    let url = region.bridge.listening().await?.api.unwrap();
    let watched = ProcessSpec::binary("probe")?
        .args([
            "watch",
            "--once",
            "--json",
            "--presence",
            "away",
            "--sort",
            "presence",
        ])
        .args(["--api", &url])
        .run(region.test_dir.path(), PATIENCE)
        .await?;
    ensure!(watched.status.success(), "{}", watched.stderr);
    let snapshot: Value = serde_json::from_str(&watched.stdout)?;
    let shown = snapshot["shown"].as_array().unwrap().iter();
    let mut shown: Vec<_> = shown.map(|row| row["name"].as_str().unwrap()).collect();
    shown.sort_unstable();
    ensure!(shown == ["cluster1", "cluster3"], "{snapshot}");
    ensure!(snapshot["clusters"] == 2, "{snapshot}");

    // Back again they are as the others.
    for cluster in ["cluster1", "cluster3"] {
        region.agent(cluster)?.service.restart()?;
    }
    well(&api, &id).await?;
    for cluster in ["cluster1", "cluster3"] {
        agent(&api, cluster, "idle", "its agent was heard").await?;
    }
    region.passed();
    Ok(())
}

/// Waits until the agent of a consumer is so and its story has these words, and gives it.
async fn agent(api: &Api, consumer: &str, state: &str, words: &str) -> Result<Value> {
    let path = format!("/consumers/{consumer}/explain");
    let what = format!("`{consumer}` to be {state}");
    until(
        &what,
        async || read(api, &path).await,
        |told| {
            let text = told["state"].as_str().unwrap_or_default();
            told["agent"]["state"] == state && text.contains(words)
        },
    )
    .await
}

/// Who is on the overview.
async fn names(api: &Api, query: &str) -> Result<Vec<String>> {
    let overview = read(api, &format!("/overview?{query}")).await?;
    let items = overview["items"].as_array().into_iter().flatten();
    let names = items.filter_map(|item| item["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}
