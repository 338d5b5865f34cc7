//! Several bridges on one PostgreSQL database: what is lost when they die, are paused, or lose their database, and how soon
//! the others go on.
//!
//! Triggers in the database note every status that is stored, so that none is taken twice or backwards unseen, and how long
//! each bundle waited to be sent, through all its versions.
//!
//! `REPLICAS_FULL=1` runs the plan of a release: 40 consumers, 5 000 bundles, two minutes of kills.

#[path = "replicas/scenario.rs"]
mod scenario;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::api::{Api, Change, config_map};
use tests::postgres::Server;
use tests::proxy::RetargetableProxy;
use tests::region::{BrokerKind, RegionBuilder};
use tests::wait::{patient, quick_enough, wait_for};
use tokio::time::{Instant, sleep};

use scenario::{Fault, Plan, Scenario, run};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_one_of_three_bridges_is_killed_every_three_seconds() -> Result<()> {
    let plan = Plan::new("replicas-killed");
    run(plan, async |scenario: &mut Scenario| {
        for turn in 0..scenario.kills() {
            sleep(Duration::from_secs(3)).await;
            let victim = scenario.bridge(turn);
            victim.kill()?;
            victim.restart()?;
            scenario.follow().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_one_of_three_bridges_is_stopped_every_three_seconds() -> Result<()> {
    let plan = Plan::new("replicas-stopped");
    run(plan, async |scenario: &mut Scenario| {
        for turn in 0..scenario.kills() {
            sleep(Duration::from_secs(3)).await;
            let victim = scenario.bridge(turn);
            let status = victim.process().stop(Duration::from_secs(30)).await?;
            ensure!(status.success(), "it ended with {status}");
            victim.restart()?;
            scenario.follow().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_was_paused_past_its_leases_changes_nothing_when_it_wakes_up() -> Result<()> {
    let plan = Plan::new("replicas-paused");
    run(plan, async |scenario: &mut Scenario| {
        sleep(Duration::from_secs(3)).await;
        scenario.bridge(0).process().signal("STOP")?;
        scenario.without(0).await?;
        // Longer than a bundle may wait: others take over what it had.
        sleep(patient(Duration::from_secs(30))).await;
        scenario.bridge(0).process().signal("CONT")?;
        sleep(Duration::from_secs(5)).await;
        scenario.follow().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_notification_the_sweep_delivers_as_well() -> Result<()> {
    let plan = Plan::new("replicas-no-notify").args(["--db-notify", "off"]);
    run(plan, async |_: &mut Scenario| {
        sleep(Duration::from_secs(15)).await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_and_then_fails_over_to_its_standby_loses_nothing() -> Result<()> {
    let plan = Plan::new("replicas-failover").with(Fault::Standby);
    run(plan, async |scenario: &mut Scenario| {
        sleep(Duration::from_secs(3)).await;
        scenario.server.stop()?;
        sleep(Duration::from_secs(2)).await;
        scenario.server.launch(&scenario::SETTINGS)?;
        // One fault after the other: what is committed before is what the standby has.
        scenario.recovered().await?;
        sleep(Duration::from_secs(5)).await;
        scenario.fail_over().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_hands_over_at_once_and_a_killed_bridge_is_replaced_within_15_seconds()
-> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let files = tempfile::tempdir()?;
    let database = server.database()?;
    server.mount(files.path(), &database)?;
    let mut region = RegionBuilder::new("replicas-takeover", BrokerKind::Sandbox)
        .replicas(files.path(), 3)
        .start()
        .await?;
    owned(&server, &database, 3).await?;
    quick_enough("a clean hand-over", Duration::from_secs(5), async || {
        let process = region.bridge.process();
        process.stop(Duration::from_secs(30)).await?;
        let began = Instant::now();
        owned(&server, &database, 2).await?;
        let took = began.elapsed();
        region.bridge.restart()?;
        owned(&server, &database, 3).await?;
        Ok(took)
    })
    .await?;
    quick_enough("a take-over", Duration::from_secs(15), async || {
        region.replicas[0].kill()?;
        let began = Instant::now();
        owned(&server, &database, 2).await?;
        let took = began.elapsed();
        region.replicas[0].restart()?;
        owned(&server, &database, 3).await?;
        Ok(took)
    })
    .await?;
    region.ready().await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_without_a_free_slot_says_so_and_takes_the_next_that_is_free() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let mut region = RegionBuilder::new("replicas-slots", BrokerKind::Sandbox)
        .replicas(files.path(), 2)
        .bridge_args(["--slots", "2"])
        .start()
        .await?;
    let mut third = region.another_bridge("third")?;
    let said = third.unready("no free slot of 2").await?;
    ensure!(said.contains("slot failing"), "{said}");
    region.replicas[0]
        .process()
        .stop(Duration::from_secs(30))
        .await?;
    third.ready().await?;
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_way_of_the_notifications_alone_delays_nothing_for_long() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &server.database()?)?;
    let proxy = RetargetableProxy::start(([127, 0, 0, 1], server.port()).into()).await?;
    std::fs::write(
        files.path().join("db.port"),
        proxy.address().port().to_string(),
    )?;
    let mut region = RegionBuilder::new("replicas-swallowed", BrokerKind::Sandbox)
        .agents(2)
        .replicas(files.path(), 2)
        .start()
        .await?;
    // Whatever has a connection now loses its packets, and nobody closes it.
    proxy.stall();
    sleep(Duration::from_secs(12)).await;
    proxy.pass();
    region.ready().await?;
    let apis = region.apis().await?;
    for (turn, api) in apis.iter().enumerate() {
        for consumer in ["cluster1", "cluster2"] {
            let name = format!("after-{turn}-{consumer}");
            let manifests = vec![config_map(&name, "here")];
            let change = Change::create(consumer, manifests);
            let id = api.create_bundle(&change).await?.id;
            wait_for(&name, Duration::from_secs(20), async || {
                let bundle = api.bundle(&id).await.map_err(|error| error.to_string())?;
                match bundle {
                    Some(bundle) if bundle.is("Applied") => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await?;
        }
    }
    region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_alone_loses_its_database_leaves_the_broker_and_comes_back_by_itself()
-> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let (files, own) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let database = server.database()?;
    server.mount(files.path(), &database)?;
    server.mount(own.path(), &database)?;
    let way = RetargetableProxy::start(([127, 0, 0, 1], server.port()).into()).await?;
    let port = way.address().port().to_string();
    std::fs::write(own.path().join("db.port"), port)?;
    let mut region = RegionBuilder::new("replicas-cut-off", BrokerKind::Sandbox)
        .agents(2)
        .replicas(files.path(), 3)
        .first_by(own.path())
        .start()
        .await?;
    owned(&server, &database, 3).await?;
    let apis = region.apis().await?;

    way.refuse();
    way.break_all();
    let word = "not connected: the lease is over";
    region.bridge.unready(word).await?;
    owned(&server, &database, 2).await?;
    for (turn, api) in apis.iter().skip(1).enumerate() {
        applied(api, &format!("without-{turn}"), Duration::from_secs(10)).await?;
    }

    way.pass();
    region.ready().await?;
    owned(&server, &database, 3).await?;
    for (turn, api) in apis.iter().enumerate() {
        applied(api, &format!("again-{turn}"), Duration::from_secs(10)).await?;
    }
    region.passed();
    Ok(())
}

/// Ten bundles for each of two consumers, so that every member of the shared subscription is given some of their statuses.
async fn applied(api: &Api, name: &str, patience: Duration) -> Result<()> {
    let mut ids = Vec::new();
    for number in 0..10 {
        for consumer in ["cluster1", "cluster2"] {
            let name = format!("{name}-{number}-{consumer}");
            let manifests = vec![config_map(&name, "here")];
            let change = Change::create(consumer, manifests);
            ids.push(api.create_bundle(&change).await?.id);
        }
    }
    for id in ids {
        wait_for(name, patience, async || {
            let bundle = api.bundle(&id).await.map_err(|error| error.to_string())?;
            match bundle {
                Some(bundle) if bundle.is("Applied") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    Ok(())
}

/// Waits until so many bridges own all buckets among them.
async fn owned(server: &Server, database: &str, bridges: usize) -> Result<()> {
    let query = "SELECT count(DISTINCT l.instance), count(*) FILTER (WHERE r.instance IS NOT NULL) \
                 FROM bridge.bucket_leases l LEFT JOIN bridge.replicas r \
                 ON r.instance = l.instance AND r.expires_at > clock_timestamp()";
    wait_for("the buckets", Duration::from_secs(60), async || {
        let said = server
            .sql(database, query)
            .map_err(|error| error.to_string())?;
        (said == format!("{bridges}|256")).then_some(()).ok_or(said)
    })
    .await
    .context("all buckets owned")?;
    Ok(())
}
