//! Several bridges on one database: whichever is asked says who sends, or that nobody does and since when.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tests::proxy::RetargetableProxy;
use tests::region::{BRIDGE_CLIENT, SLOTS};

use super::database::Database;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_replicas_says_who_sends_when_a_lease_is_lost_and_when_both_are_gone()
-> Result<()> {
    let database = Database::start()?;
    let mut region = RegionBuilder::new("explain-replicas", BrokerKind::Sandbox)
        .replicas(database.mount(), 2)
        .start()
        .await?;
    owned(&database, "128 128").await?;
    let apis = region.apis().await?;
    // Without an agent, because what one reports on has arrived, whatever the broker acknowledges.
    apis[0].create_consumer("cluster9").await?;
    hold_acks(&region, true)?;
    let first = post(&apis[0], "cluster9", "first").await?;
    let (sender, owner) = sender(&apis, &first).await?;
    hold_acks(&region, false)?;
    for api in &apis {
        told(api, &first, "MQ905", &["nothing was ever heard"]).await?;
    }
    let term = lane(&apis[sender]).await?["term"].as_i64();

    // It stands still past its lease: what the other one says is true at every moment, until it has taken over.
    let other = 1 - sender;
    process(&mut region, sender).process().signal("STOP")?;
    let second = post(&apis[other], "cluster9", "second").await?;
    let after = wait_for("the other replica to take over", PATIENCE, async || {
        let lane = lane(&apis[other])
            .await
            .map_err(|error| format!("{error:#}"))?;
        let story = story(&apis[other], &second).await;
        let story = story.map_err(|error| format!("{error:#}"))?;
        let why = story["waiting"]["why"].as_str().unwrap_or_default();
        match lane["owner"].as_str() {
            Some(name) if name != owner => {
                // Told after the lane was.
                match why.contains(&owner) {
                    true => Err(format!("{why} although it is `{name}`'s")),
                    false => Ok(lane),
                }
            }
            Some(_) => Err(why.to_owned()),
            None => {
                let since = lane["nobody_since"].as_str();
                let since: Option<Timestamp> = since.and_then(|since| since.parse().ok());
                let at: Timestamp = story["at"].as_str().unwrap_or_default().parse().unwrap();
                // Without a time only between the end of a row and the next taking.
                assert!(since.is_none_or(|since| since <= at), "{lane}");
                Err(lane.to_string())
            }
        }
    })
    .await?;
    ensure!(after["term"].as_i64() > term, "{after}");
    told(&apis[other], &second, "MQ905", &["nothing was ever heard"]).await?;

    // Awake again it was fenced, and says of the other one what that one says of itself.
    process(&mut region, sender).process().signal("CONT")?;
    region.ready().await?;
    owned(&database, "128 128").await?;
    hold_acks(&region, true)?;
    let third = post(&apis[other], "cluster9", "third").await?;
    self::sender(&apis, &third).await?;

    // Killed they leave a lease that has an end.
    region.bridge.kill()?;
    region.replicas[0].kill()?;
    let words = ["has not renewed its lease since it ran out at"];
    let read = async || database.story(&region, &third).await;
    let ended = until("the lease to end", read, |story| {
        says(story, "MQ902", &words)
    })
    .await?;
    let consumer = database.story(&region, "consumer/cluster9").await?;
    let since = consumer["lane"]["nobody_since"].as_str();
    let since: Timestamp = since.context(consumer.to_string())?.parse()?;
    let why = ended["waiting"]["why"].as_str().unwrap_or_default();
    let second = Timestamp::from_second(since.as_second())?.to_string();
    ensure!(why.contains(&second), "{why} {consumer}");
    ensure!(consumer["lane"].get("owner").is_none(), "{consumer}");

    // Stopped in order the last one gives back what it had, and the end of its lease with it.
    region.replicas[0].restart()?;
    owned(&database, "256").await?;
    let last = &mut region.replicas[0];
    let status = last.process().stop(PATIENCE).await?;
    ensure!(status.success(), "{status}");
    let story = database.story(&region, &third).await?;
    let words = [
        "no bridge runs on this database",
        "a bridge heard agents last at 2",
        "start a bridge",
    ];
    ensure!(says(&story, "MQ902", &words), "{story}");
    let consumer = database.story(&region, "consumer/cluster9").await?;
    ensure!(consumer["lane"]["replicas"] == 0, "{consumer}");
    ensure!(consumer["lane"]["nobody_since"].is_string(), "{consumer}");
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lost_its_database_tells_no_story_and_the_other_one_tells_its_own()
-> Result<()> {
    let database = Database::start()?;
    let own = tempfile::tempdir()?;
    database.server.mount(own.path(), &database.name)?;
    let port = database.server.port();
    let way = RetargetableProxy::start(([127, 0, 0, 1], port).into()).await?;
    let port = way.address().port().to_string();
    std::fs::write(own.path().join("db.port"), port)?;
    let mut region = RegionBuilder::new("explain-cut-off", BrokerKind::Sandbox)
        .replicas(database.mount(), 2)
        .first_by(own.path())
        .start()
        .await?;
    owned(&database, "128 128").await?;
    let apis = region.apis().await?;
    apis[0].create_consumer("cluster9").await?;
    let id = post(&apis[0], "cluster9", "a").await?;
    told(&apis[0], &id, "MQ905", &[]).await?;

    way.refuse();
    way.break_all();
    unknown(&apis[0], &id, "cluster9").await?;
    // By its API the verb ends with the same words.
    let url = region.bridge.listening().await?.api.unwrap();
    let (code, stdout, stderr) = explain(&region, &[&id, "--api", &url]).await?;
    ensure!(code == Some(1) && stdout.is_empty(), "{code:?} {stdout}");
    ensure!(stderr.contains("is not known without it"), "{stderr}");
    let read = async || lane(&apis[1]).await;
    let alone = until("the other replica to own all", read, |lane| {
        lane["replicas"] == 1 && lane["owner"].as_str().is_some_and(|it| !it.is_empty())
    })
    .await?;
    hold_acks(&region, true)?;
    let unsent = post(&apis[1], "cluster9", "b").await?;
    let alone = alone["owner"].as_str().unwrap_or_default();
    let itself = format!("this bridge (`{alone}`, slot ");
    let words = [itself.as_str()];
    let read = async || story(&apis[1], &unsent).await;
    until("the other to say that it sends", read, |told| {
        says(told, "MQ911", &words) || says(told, "MQ902", &words)
    })
    .await?;
    hold_acks(&region, false)?;

    way.pass();
    region.ready().await?;
    told(&apis[0], &unsent, "MQ905", &[]).await?;
    region.passed();
    Ok(())
}

/// The process that listens where this API is.
fn process(region: &mut Region, index: usize) -> &mut Service {
    match index {
        0 => &mut region.bridge,
        other => &mut region.replicas[other - 1],
    }
}

/// Who sends to the lane of `cluster9`, as one bridge tells it.
async fn lane(api: &Api) -> Result<Value> {
    Ok(read(api, "/consumers/cluster9/explain").await?["lane"].take())
}

/// Waits until both name the same replica as the one that sends this bundle, which is at the broker and not acknowledged,
/// and just that one says that it is itself: its index and its name.
async fn sender(apis: &[Api], id: &str) -> Result<(usize, String)> {
    let found = wait_for("both to say who sends", PATIENCE, async || {
        let mut names = Vec::new();
        let mut own = Vec::new();
        for (index, api) in apis.iter().enumerate() {
            let told = story(api, id).await.map_err(|error| format!("{error:#}"))?;
            let why = told["waiting"]["why"].as_str().unwrap_or_default();
            if !why.contains("handed it to") {
                return Err(told.to_string());
            }
            names.push(why.split('`').nth(1).unwrap_or_default().to_owned());
            own.extend(why.starts_with("this bridge (").then_some(index));
        }
        match own[..] {
            [index] if names[0] == names[1] => Ok((index, names.remove(0))),
            _ => Err(format!("{names:?} {own:?}")),
        }
    })
    .await?;
    Ok(found)
}

/// Whether the broker keeps its acknowledgements from every bridge.
fn hold_acks(region: &Region, held: bool) -> Result<()> {
    region.broker.sandbox()?.faults().set(|faults| {
        let clients = (0..SLOTS).map(|slot| format!("{BRIDGE_CLIENT}-{slot}"));
        faults.hold_acks = clients.filter(|_| held).collect();
    });
    Ok(())
}

/// Waits until as many bridges as there are numbers have so many buckets each.
async fn owned(database: &Database, buckets: &str) -> Result<()> {
    let query = "SELECT string_agg(n::text, ' ') FROM (SELECT count(*) AS n FROM bridge.bucket_leases l \
                 JOIN bridge.replicas r ON r.instance = l.instance AND r.expires_at > clock_timestamp() GROUP BY l.instance) o";
    wait_for("the buckets", PATIENCE, async || {
        let said = database.sql(query).map_err(|error| error.to_string())?;
        (said == buckets).then_some(()).ok_or(said)
    })
    .await?;
    Ok(())
}
