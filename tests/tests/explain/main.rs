//! A bundle that is stuck at each hop, for real, and what `explain` says of it: by REST of the bridge that runs, and by the
//! verb on the store beside it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use tests::api::{Api, Change, config_map};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, Region, RegionBuilder, Service};
use tests::wait::wait_for;

mod agents;
mod bridges;
mod clusters;
mod database;
mod replicas;
mod silence;
mod stores;

/// A region with an agent of `cluster1`, and its API.
async fn start(test: &str) -> Result<(Region, Api)> {
    let mut region = RegionBuilder::new(test, BrokerKind::Sandbox)
        .start()
        .await?;
    let api = region.api().await?;
    Ok((region, api))
}

/// A bundle for a consumer; its id.
async fn post(api: &Api, consumer: &str, name: &str) -> Result<String> {
    let change = Change::create(consumer, vec![config_map(name, "here")]);
    Ok(api.create_bundle(&change).await?.id)
}

/// The story by REST.
async fn story(api: &Api, id: &str) -> Result<Value> {
    read(api, &format!("/resource-bundles/{id}/explain")).await
}

async fn read(api: &Api, path: &str) -> Result<Value> {
    let (status, text) = api.raw(Method::GET, path, None).await?;
    ensure!(status == 200, "{path}: {status} {text}");
    Ok(serde_json::from_str(&text)?)
}

/// Waits until what is read holds, and gives it.
async fn until(
    what: &str,
    read: impl AsyncFn() -> Result<Value>,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let found = wait_for(what, PATIENCE, async || {
        let found = read().await.map_err(|error| format!("{error:#}"))?;
        match holds(&found) {
            true => Ok(found),
            false => Err(found.to_string()),
        }
    })
    .await?;
    Ok(found)
}

/// Waits until the story of a bundle has this code and these words in why and next, and gives it.
async fn told(api: &Api, id: &str, code: &str, words: &[&str]) -> Result<Value> {
    let what = format!("{code} of `{id}`");
    let read = async || story(api, id).await;
    let found = until(&what, read, |told| says(told, code, words)).await?;
    ensure!(found["waiting"]["page"] == format!("docs/faults/{code}.md"));
    Ok(found)
}

/// Waits until nothing is waited for.
async fn well(api: &Api, id: &str) -> Result<Value> {
    let what = format!("`{id}` to be well");
    let read = async || story(api, id).await;
    until(&what, read, |told| told["waiting"].is_null()).await
}

/// Without its store a bridge has no story of the bundle by REST, nor of its consumer, but 503 with words.
async fn unknown(api: &Api, id: &str, consumer: &str) -> Result<()> {
    for path in [
        format!("/resource-bundles/{id}/explain"),
        format!("/consumers/{consumer}/explain"),
    ] {
        let (status, text) = api.raw(Method::GET, &path, None).await?;
        ensure!(status == 503, "{path}: {status} {text}");
        let words = [
            "maestro-9",
            "the store",
            "is not known without it",
            "/readyz",
            "MQ700",
        ];
        has(&text, &words)?;
        ensure!(!text.contains("\"waiting\""), "{text}");
    }
    Ok(())
}

/// Each of these words is there.
fn has(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "no `{word}` in {text}");
    }
    Ok(())
}

fn says(story: &Value, code: &str, words: &[&str]) -> bool {
    let waiting = &story["waiting"];
    let text = format!(
        "{} {}",
        waiting["why"].as_str().unwrap_or_default(),
        waiting["next"].as_str().unwrap_or_default()
    );
    waiting["code"] == code && words.iter().all(|word| text.contains(word))
}

/// What the verb says on the store, whether or not a bridge runs: its exit code, stdout and stderr.
async fn verb(region: &Region, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let database = region.database();
    let store = ["--db", database.to_str().unwrap()];
    explain(region, &[arguments, &store].concat()).await
}

async fn explain(region: &Region, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    // A label of its own, because output of one label is kept together.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let spec = ProcessSpec::binary("server-bridge")?
        .label(format!("explain-{run}"))
        .arg("explain")
        .args(arguments);
    let output = spec.run(region.test_dir.path(), PATIENCE).await?;
    Ok((output.status.code(), output.stdout, output.stderr))
}

/// The verb's story as JSON.
async fn verb_story(region: &Region, subject: &str) -> Result<Value> {
    json_of(verb(region, &[subject, "--json"]).await?)
}

fn json_of((code, stdout, stderr): (Option<i32>, String, String)) -> Result<Value> {
    ensure!(code == Some(0), "{stdout}{stderr}");
    serde_json::from_str(&stdout).context("the verb's JSON")
}

// An agent that is asked has 20 s to answer before it counts as silent.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_told_by_id_and_name_and_what_is_not_there_by_its_near_names() -> Result<()> {
    let (mut region, api) = start("explain-names").await?;
    let change = Change {
        name: Some("shop-web".into()),
        ..Change::create("cluster1", vec![config_map("a", "here")])
    };
    let id = api.create_bundle(&change).await?.id;
    let by_rest = well(&api, &id).await?;
    ensure!(by_rest["hops"].as_array().unwrap().len() == 7, "{by_rest}");
    let hops = by_rest["hops"].as_array().unwrap().iter();
    ensure!(hops.clone().all(|hop| hop["at"].is_string()), "{by_rest}");
    for subject in [id.as_str(), "shop-web", "bundle/shop-web"] {
        let by_verb = verb_story(&region, subject).await?;
        ensure!(by_verb["hops"] == by_rest["hops"], "{by_verb} {by_rest}");
        ensure!(by_verb["state"] == "Version 1 is applied and available.");
    }
    let (code, text, _) = verb(&region, &["shop-web"]).await?;
    ensure!(
        code == Some(0) && text.contains("hop       v1 received"),
        "{text}"
    );
    let (code, _, hint) = verb(&region, &["shop-wbe"]).await?;
    ensure!(
        code == Some(1) && hint.contains("there are bundles `shop-web`"),
        "{hint}"
    );
    let (code, _, hint) = verb(&region, &["cluster"]).await?;
    ensure!(
        code == Some(1) && hint.contains("consumers `cluster1`"),
        "{hint}"
    );
    // A bundle called like a consumer.
    let change = Change {
        name: Some("cluster1".into()),
        ..Change::create("cluster1", vec![config_map("b", "here")])
    };
    let same = api.create_bundle(&change).await?.id;
    well(&api, &same).await?;
    let (code, _, hint) = verb(&region, &["cluster1"]).await?;
    ensure!(
        code == Some(1) && hint.contains("`consumer/cluster1`"),
        "{hint}"
    );
    let consumer = verb_story(&region, "consumer/cluster1").await?;
    ensure!(consumer["counts"]["bundles"] == 2, "{consumer}");
    // The same by the API.
    let url = region.bridge.listening().await?.api.unwrap();
    for (subject, line) in [
        ("shop-web", "state     Version 1 is applied"),
        ("consumer/cluster1", "state     Nothing waits: 2 bundles"),
    ] {
        let (code, text, error) = explain(&region, &[subject, "--api", &url]).await?;
        ensure!(code == Some(0) && text.contains(line), "{text}{error}");
    }
    let (code, _, hint) = explain(&region, &["shop-wbe", "--api", &url]).await?;
    ensure!(
        code == Some(1) && hint.contains("there are bundles `shop-web`"),
        "{hint}"
    );
    // Gone, and remembered.
    api.delete_bundle(&id).await?;
    wait_for("the bundle to go", PATIENCE, async || {
        match api.bundle(&id).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let gone = story(&api, &id).await?;
    ensure!(
        gone["state"]
            .as_str()
            .unwrap()
            .contains("confirmed its deletion"),
        "{gone}"
    );
    let (code, text, _) = verb(&region, &[&id]).await?;
    ensure!(
        code == Some(0) && text.contains("It is gone") && text.contains("target `audit`"),
        "{text}"
    );
    region.passed();
    Ok(())
}
