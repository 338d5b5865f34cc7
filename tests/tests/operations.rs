//! The commands of docs/OPERATIONS.md, run as they stand, in their order, beside a region of two bridges on PostgreSQL.
//!
//! A block of the page whose fence says `sh NAME` is run by its name here. What a cluster does between them (a pod stops, a
//! secret is mounted) the test does. What is for a cluster is run by `node/rehearsal.rs`, or is no block of `sh`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::api::{Api, Change, config_map};
use tests::doc_page::DocPage;
use tests::postgres::{PASSWORD, Server, USER};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_operations_page_do_what_it_says() -> Result<()> {
    let server = Server::start(&["max_connections=80"])?;
    let database = server.database()?;
    let files = tempfile::tempdir()?;
    server.mount(files.path(), &database)?;
    let mut region = RegionBuilder::new("operations", BrokerKind::Sandbox)
        .agents(2)
        .replicas(files.path(), 2)
        .start()
        .await?;
    let test_dir = tempfile::tempdir()?;
    let mut page = open(&server, &database, files.path(), test_dir.path())?;

    let api = region.api().await?;
    let change = Change::create("cluster1", vec![config_map("kept", "one")]);
    let kept = api.create_bundle(&change).await?.id;
    let change = Change::create("cluster2", vec![config_map("lost", "one")]);
    api.create_bundle(&change).await?;
    applied(&api, &kept, 1).await?;
    let said = page.run("look").await?;
    ensure!(said.contains("bundles"), "{said}");
    page.set("BUNDLE", &kept);
    let said = page.run("explain").await?;
    ensure!(
        said.contains("is applied and available") || said.contains("MQ9"),
        "{said}"
    );
    page.run("backup").await?;

    // What changes after the backup is lost with the restore; the agents have it.
    let change = Change::of(1, vec![config_map("kept", "two")]);
    api.change_bundle(&kept, &change).await?;
    applied(&api, &kept, 2).await?;
    stop(&mut region).await?;
    page.run("restore").await?;
    start(&mut region).await?;
    let api = region.api().await?;
    applied(&api, &kept, 3).await?;
    let agent = region.agent("cluster1")?;
    let manifest = config_map("kept", "one");
    ensure!(
        agent.applied(&manifest)?.as_ref() == Some(&manifest),
        "the content of the backup"
    );
    let said = page.run("epochs").await?;
    ensure!(said.contains("epoch"), "{said}");

    page.run("rotate").await?;
    std::fs::write(files.path().join("db.user"), "bridge_b")?;
    std::fs::write(files.path().join("db.password"), "another secret")?;
    wait_for("sessions of the new user", PATIENCE, async || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'bridge_b'";
        let count = server.sql(&database, query).map_err(|error| error.to_string())?;
        // Every new connection is the new user's; the open ones are ended so that there are some.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' \
                   AND application_name LIKE 'server-bridge%'";
        server.sql(&database, end).map_err(|error| error.to_string())?;
        if count == "0" { Err(count) } else { Ok(()) }
    })
    .await?;
    region.ready().await?;

    // Its agent is gone for good.
    region.agent("cluster2")?.service.kill()?;
    page.set(
        "API",
        &region.bridge.listening().await?.api.context("an API")?,
    );
    page.set("CLUSTER", "cluster2");
    page.run("remove").await?;
    let consumers = page
        .shell("psql -Atc 'SELECT name FROM bridge.consumers'")
        .await?;
    ensure!(consumers.trim() == "cluster1", "{consumers}");

    stop(&mut region).await?;
    page.run("copy-back").await?;
    let moved = server.database()?;
    server.mount(files.path(), &moved)?;
    page.set("PGDATABASE", &moved);
    page.shell("mv new.db bridge.db").await?;
    page.run("copy").await?;
    page.run("migrate").await?;
    let bundles = page
        .shell("psql -Atc 'SELECT count(*) FROM bridge.bundles'")
        .await?;
    ensure!(bundles.trim() == "1", "{bundles}");
    start(&mut region).await?;
    let api = region.api().await?;
    applied(&api, &kept, 3).await?;
    // Of a cluster, where `node/rehearsal.rs` runs them.
    page.run_elsewhere(&["scale", "migrate-log"])?;
    page.all_named()?;
    page.all_run()?;
    region.passed();
    Ok(())
}

/// The page beside this region's database and mounted files.
fn open(server: &Server, database: &str, mount: &Path, test_dir: &Path) -> Result<DocPage> {
    let mut page = DocPage::open("docs/OPERATIONS.md", test_dir)?;
    page.set("BRIDGE_MOUNT", &mount.display().to_string());
    page.set("BRIDGE_DB_SSLMODE", "disable");
    page.set("PGHOST", "127.0.0.1");
    page.set("PGPORT", &server.port().to_string());
    page.set("PGUSER", USER);
    page.set("PGPASSWORD", PASSWORD);
    page.set("PGDATABASE", database);
    Ok(page)
}

async fn stop(region: &mut Region) -> Result<()> {
    for bridge in std::iter::once(&mut region.bridge).chain(&mut region.replicas) {
        bridge.process().stop(PATIENCE).await?;
    }
    Ok(())
}

async fn start(region: &mut Region) -> Result<()> {
    for bridge in std::iter::once(&mut region.bridge).chain(&mut region.replicas) {
        bridge.restart()?;
    }
    region.bridge.ready().await?;
    Ok(())
}

/// Waits until this version, or a newer one, is applied.
async fn applied(api: &Api, id: &str, version: i64) -> Result<()> {
    wait_for(
        &format!("version {version} of {id}"),
        PATIENCE,
        async || {
            let bundle = api.bundle(id).await.map_err(|error| error.to_string())?;
            match bundle {
                Some(bundle)
                    if bundle.version >= version
                        && bundle.observed_version() == bundle.version
                        && bundle.is("Applied") =>
                {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await?;
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);
