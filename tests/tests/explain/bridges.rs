//! Stuck before the broker has it.

use anyhow::{Result, ensure};
use link::clock::Clock;
use link::id::ConsumerName;
use serde_json::json;
use server_bridge::store::sqlite::SqliteStore;
use server_bridge::store::{Content, Json, NewBundle, SourceName, Store as _};
use tests::api::Change;
use tests::region::BRIDGE_CLIENT;

use super::database::Database;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_says_the_code_and_the_action_to_allow() -> Result<()> {
    let (region, api) = start("explain-refused").await?;
    let faults = region.broker.sandbox()?.faults().clone();
    faults.set(|faults| {
        faults.refuse_publishes.insert(BRIDGE_CLIENT.into());
    });
    let id = post(&api, "cluster1", "a").await?;
    let denied = told(
        &api,
        &id,
        "MQ901",
        &["0x87", "`iot:Publish`", "sourceevents"],
    )
    .await?;
    ensure!(denied["attempts"]["count"].as_u64() >= Some(1), "{denied}");
    // The broker refused it, so that it is to be published again.
    ensure!(denied["waiting"]["hop"] == "published", "{denied}");
    let beside = verb_story(&region, &id).await?;
    ensure!(says(&beside, "MQ901", &["0x87"]), "{beside}");
    faults.set(|faults| {
        faults.refuse_publishes.clear();
        faults.throttle = 1.0;
    });
    told(&api, &id, "MQ901", &["0x97", "PublishIn.Throttle"]).await?;
    faults.set(|faults| faults.throttle = 0.0);
    well(&api, &id).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_says_which_objects_are_and_when_it_is_tried_again() -> Result<()> {
    let (mut region, api) = start("explain-large").await?;
    let id = post(&api, "cluster1", "before").await?;
    well(&api, &id).await?;
    // The API takes no such bundle: it is of a time with other limits.
    region.bridge.kill()?;
    let store = SqliteStore::open(region.database()).await?;
    let map = |name: &str, bytes| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"},
            "data": {"k": "x".repeat(bytes)}})
    };
    let manifests = json!([map("small", 10), map("huge", 200_000)]);
    let new = NewBundle {
        id: "large".into(),
        name: "large".into(),
        source: SourceName::new("maestro")?,
        consumer_name: ConsumerName::new("cluster1")?,
        metadata: None,
        origin: None,
        content: Content {
            manifests: Json::from_value(&manifests),
            delete_option: None,
            manifest_configs: None,
            executer: None,
        },
    };
    store.create_bundle(new, Clock::system().now()).await?;
    store.close().await;
    drop(store);
    let unsent = verb_story(&region, "large").await?;
    ensure!(unsent["waiting"]["hop"] == "published", "{unsent}");
    region.bridge.restart()?;
    region.ready().await?;
    let api = region.api().await?;
    let words = [
        "does not fit",
        "ConfigMap shop/huge 200",
        "split the bundle",
    ];
    let large = told(&api, "large", "MQ901", &words).await?;
    ensure!(large["attempts"]["quarantined"] == true, "{large}");
    ensure!(!large.to_string().contains("xxxx"), "no content");
    // It holds up nothing else.
    let after = post(&api, "cluster1", "after").await?;
    well(&api, &after).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_not_connected_says_so_and_one_that_does_not_run_is_missed() -> Result<()>
{
    let (mut region, api) = start("explain-apart").await?;
    region.broker.kill().await?;
    region.bridge.unready("broker").await?;
    let id = post(&api, "cluster1", "a").await?;
    told(
        &api,
        &id,
        "MQ902",
        &["this bridge cannot send: broker", "probe doctor"],
    )
    .await?;
    // Nobody says it but the ledger: once a bridge that runs would have sent it.
    region.bridge.kill()?;
    let read = async || verb_story(&region, &id).await;
    until("the verb to miss the bridge", read, |story| {
        says(story, "MQ902", &["the bridge"])
    })
    .await?;
    region.broker.restart().await?;
    region.bridge.restart()?;
    region.ready().await?;
    well(&region.api().await?, &id).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_keeps_silent_about_and_what_waits_behind_it_are_two_things() -> Result<()>
{
    let (region, api) = start("explain-behind").await?;
    let faults = region.broker.sandbox()?.faults().clone();
    faults.set(|faults| {
        faults.hold_acks.insert(BRIDGE_CLIENT.into());
    });
    // Without an agent: what one reports on has arrived, whatever the broker acknowledges.
    api.create_consumer("cluster9").await?;
    let first = post(&api, "cluster9", "first").await?;
    told(&api, &first, "MQ911", &["handed it to the broker"]).await?;
    // A batch goes at a time, and this one waits for the acknowledgement.
    let second = post(&api, "cluster9", "second").await?;
    told(
        &api,
        &second,
        "MQ911",
        &["1 bundle of its consumer", "first"],
    )
    .await?;
    told(&api, &first, "MQ902", &["has not acknowledged it since"]).await?;
    faults.set(|faults| faults.hold_acks.clear());
    told(&api, &second, "MQ905", &["nothing was ever heard"]).await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_no_replica_owns_is_told_from_the_database() -> Result<()> {
    let database = Database::start()?;
    let mut region = RegionBuilder::new("explain-leases", BrokerKind::Sandbox)
        .postgres(database.mount())
        .start()
        .await?;
    let api = region.api().await?;
    let id = post(&api, "cluster1", "a").await?;
    well(&api, &id).await?;
    let lane = read(&api, "/consumers/cluster1/explain").await?["lane"].clone();
    ensure!(
        lane["owner"].is_string() && lane["term"].as_i64() > Some(0),
        "{lane}"
    );
    // Whoever dies keeps what it had until its lease is over.
    region.broker.kill().await?;
    region.bridge.unready("broker").await?;
    let change = Change::of(1, vec![config_map("a", "changed")]);
    api.change_bundle(&id, &change).await?;
    region.bridge.kill()?;
    let words = ["has not renewed its lease", "start a bridge"];
    let read = async || database.story(&region, &id).await;
    until("the lease to end", read, |story| {
        says(story, "MQ902", &words)
    })
    .await?;
    region.passed();
    Ok(())
}
