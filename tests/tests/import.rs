//! A bridge in the place of Maestro, with real agents that hold what Maestro sent: they get what it had not sent, and
//! nothing else. What stands for Maestro before the move is a bridge, and a database laid out as Maestro's with what that
//! one sent and heard.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use link::id::ConsumerName;
use serde_json::json;
use server_bridge::store::sqlite::SqliteStore;
use server_bridge::store::{Bundle, Store as _};
use tests::api::{Api, Change, config_map};
use tests::fleet::files;
use tests::go::{kind, value};
use tests::postgres::{Server, USER};
use tests::process::ProcessSpec;
use tests::prometheus::{Prometheus, Target};
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::session::Client;
use tests::wait::{timeout, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_hold_what_maestro_sent_get_only_what_it_had_not_sent() -> Result<()> {
    let mut region = RegionBuilder::new("import-maestro", BrokerKind::Sandbox)
        .agents(2)
        .bridge_args(["--compat-metrics"])
        .start()
        .await?;
    let api = region.api().await?;
    let mut ids = Vec::new();
    for number in 0..10 {
        let consumer = format!("cluster{}", number % 2 + 1);
        let name = format!("cm{number}");
        let change = Change::create(&consumer, vec![config_map(&name, "from Maestro")]);
        ids.push(api.create_bundle(&change).await?.id);
    }
    for id in &ids {
        applied(&api, id, 1).await?;
    }
    region.bridge.kill()?;

    let server = Server::shared();
    let database = server.database()?;
    fill(server, &database, &region).await?;
    // Maestro changed one and was asked to delete one, and sent neither.
    let sql = format!(
        "UPDATE resources SET version = 2, payload = jsonb_set(payload, '{{data,manifests,0,data}}', \
         '{{\"key\": \"not sent\"}}') WHERE id = '{}'; UPDATE resources SET deleted_at = now() WHERE id = '{}'",
        ids[0], ids[1]
    );
    server.sql(&database, &sql)?;
    for file in files(&region.test_dir.dir("bridge")?)? {
        if file.to_string_lossy().contains("bridge.sqlite") {
            std::fs::remove_file(file)?;
        }
    }
    let secret = region.test_dir.dir("maestro")?;
    server.mount(&secret, &database)?;
    let url = format!(
        "postgres://{USER}@127.0.0.1:{}/{database}?sslmode=disable",
        server.port()
    );
    let done = ProcessSpec::binary("server-bridge")?
        .args([
            "import",
            "maestro",
            "--json",
            "--from",
            &url,
            "--from-password-file",
        ])
        .arg(secret.join("db.password"))
        .arg("--db")
        .arg(region.database())
        .run(&secret, PATIENCE)
        .await?;
    ensure!(done.status.success(), "{}", done.stderr);
    let report: serde_json::Value = serde_json::from_str(&done.stdout)?;
    let bundles = &report["bundles"];
    ensure!(
        bundles["confirmed"] == 8 && bundles["unsent"] == 1 && bundles["deleting"] == 1,
        "{report}"
    );

    let mut spy = region.peer("spy", &["maestro/consumers/+/+"])?;
    ensure!(spy.session.ready().await);
    region.bridge.restart()?;
    region.ready().await?;
    let api = region.api().await?;
    applied(&api, &ids[0], 2).await?;
    wait_for(
        "the deletion to be confirmed",
        PATIENCE,
        async || match api.bundle(&ids[1]).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    // Whatever else would have come is there before the answers to these.
    let mut last = BTreeSet::new();
    for consumer in ["cluster1", "cluster2"] {
        let change = Change::create(consumer, vec![config_map(&format!("last-{consumer}"), "x")]);
        let id = api.create_bundle(&change).await?.id;
        applied(&api, &id, 1).await?;
        last.insert(id);
    }
    let (sent, told) = seen(&mut spy, &last).await?;
    let expected: BTreeSet<String> = [&ids[0], &ids[1]]
        .into_iter()
        .chain(&last)
        .cloned()
        .collect();
    ensure!(sent == expected, "sent: {sent:?}, not {expected:?}");
    ensure!(told == expected, "told: {told:?}, not {expected:?}");
    ensure!(api.bundles("").await?.total == 11);
    for id in &ids[2..] {
        let bundle = api.bundle(id).await?.context("it is there")?;
        ensure!(bundle.version == 1 && bundle.is("Applied"), "{bundle:?}");
    }
    compat(&mut region).await?;
    region.passed();
    Ok(())
}

/// Rules made for upstream's server find values where a real Prometheus scrapes the bridge.
async fn compat(region: &mut Region) -> Result<()> {
    let page = region.bridge.metrics().await?;
    let success = [("status", "success")];
    ensure!(page.count("spec_controller_event_reconcile_total", &success) >= 4);
    ensure!(page.count("cloudevents_received_total", &[]) >= 4);
    ensure!(page.sum("bridge_waiting_oldest_seconds", &[]).is_some());
    let home = region.test_dir.dir("prometheus")?;
    let prometheus = Prometheus::start(&home, &[]).await?;
    let admin = region.bridge.listening().await?.admin;
    prometheus.scrape(&[Target {
        address: admin.trim_start_matches("http://").to_owned(),
        container: "server-bridge".into(),
        namespace: "maestro".into(),
        pod: "server-bridge-0".into(),
    }])?;
    for expression in EXPRESSIONS {
        wait_for(expression, PATIENCE, async || {
            match prometheus.query(expression).await {
                Ok(series) if !series.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    Ok(())
}

/// As in the rules of those who run Maestro, without their limits.
const EXPRESSIONS: [&str; 6] = [
    "max(spec_controller_event_oldest_unreconciled_age_seconds{namespace=\"maestro\"})",
    "sum(rate(spec_controller_event_reconcile_total{namespace=\"maestro\", status=\"error\"}[5m])) \
     / sum(rate(spec_controller_event_reconcile_total{namespace=\"maestro\"}[5m]))",
    "max(workqueue_depth{namespace=\"maestro\"})",
    "sum(rate(rest_api_inbound_request_count{namespace=\"maestro\"}[5m]))",
    "sum(rate(cloudevents_sent_total{namespace=\"maestro\", source=\"maestro\"}[5m]))",
    "sum(rate(cloudevents_received_total{namespace=\"maestro\"}[5m]))",
];

/// Of which bundles anything was sent or told until all of `last` were reported as applied.
async fn seen(
    spy: &mut Client,
    last: &BTreeSet<String>,
) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut sent, mut told) = (BTreeSet::new(), BTreeSet::new());
    let mut missing = last.clone();
    while !missing.is_empty() {
        let delivery = timeout(PATIENCE, spy.inbound.recv()).await;
        let delivery = delivery.with_context(|| format!("seen so far: {sent:?}, {told:?}"))?;
        let delivery = delivery.context("the spy's session ended")?;
        let message = &delivery.message;
        if let Some(id) = value(message, "resourceid") {
            let is_status = kind(message).contains(".status.");
            let set = if is_status { &mut told } else { &mut sent };
            set.insert(id.to_owned());
            let text = String::from_utf8_lossy(&message.payload);
            if is_status && text.contains("\"Applied\"") {
                missing.remove(id);
            }
        }
        delivery.ack();
    }
    Ok((sent, told))
}

/// A database as Maestro's, with what the first bridge sent and heard.
async fn fill(server: &Server, database: &str, region: &Region) -> Result<()> {
    server.sql(database, TABLES)?;
    let store = SqliteStore::open(region.database()).await?;
    for name in ["cluster1", "cluster2"] {
        let name = ConsumerName::new(name)?;
        let consumer = store
            .get_consumer_by_name(&name)
            .await?
            .context("it is there")?;
        let sql = format!(
            "INSERT INTO consumers VALUES ('{}', now(), now(), NULL, '{name}', NULL)",
            consumer.id
        );
        server.sql(database, &sql)?;
        for (id, hash) in store.status_hashes_of(&name).await? {
            let bundle = store.get_bundle(&id).await?.context("it is there")?;
            let (payload, status) = events(&bundle, hash.as_deref())?;
            let sql = format!(
                "INSERT INTO resources VALUES ('{id}', now(), now(), NULL, 'source', '{name}', {}, '', $e${payload}$e$, \
                 $e${status}$e$, '{id}')",
                bundle.version
            );
            server.sql(database, &sql)?;
        }
    }
    store.close().await;
    Ok(())
}

fn events(bundle: &Bundle, hash: Option<&str>) -> Result<(serde_json::Value, serde_json::Value)> {
    let content = bundle.content.as_ref().context("content")?;
    let status = bundle.status.as_ref().context("a status")?;
    let (id, consumer) = (&bundle.id, bundle.consumer_name.as_str());
    let data: serde_json::Value = serde_json::from_slice(&content.payload())?;
    let kind = "io.open-cluster-management.works.v1alpha1.manifestbundles";
    let payload = json!({
        "specversion": "1.0", "id": "e1", "source": "source", "type": format!("{kind}.spec.create_request"),
        "time": "2026-11-01T10:00:00Z", "datacontenttype": "application/json", "clustername": consumer,
        "originalsource": "", "resourceid": id, "resourceversion": 0, "logtracing": "{}",
        "metadata": {"name": "work", "namespace": consumer}, "data": data,
    });
    let status = json!({
        "specversion": "1.0", "id": "e2", "source": format!("{consumer}-work-agent"),
        "type": format!("{kind}.status.update_request"), "time": "2026-11-01T10:00:00Z",
        "datacontenttype": "application/json", "clustername": consumer, "originalsource": "maestro", "resourceid": id,
        "resourceversion": bundle.version.to_string(), "sequenceid": status.sequence_id.context("a sequence")?.to_string(),
        "statushash": hash, "metadata": {"name": "work"}, "data": status.payload.to_value(),
    });
    Ok((payload, status))
}

async fn applied(api: &Api, id: &str, version: i64) -> Result<()> {
    let what = format!("`{id}` to be applied at {version}");
    wait_for(&what, PATIENCE, async || match api.bundle(id).await {
        Ok(Some(bundle)) if bundle.is("Applied") && bundle.observed_version() == version => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    Ok(())
}

const TABLES: &str = "
CREATE TABLE migrations (id varchar(255) PRIMARY KEY);
INSERT INTO migrations VALUES ('201911212019'), ('202309020925'), ('202311151850'), ('202311151856'), ('202311151859'),
    ('202401151014'), ('202406241426'), ('202406241506'), ('202412171429'), ('202412181141');
CREATE TABLE consumers (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    name text NOT NULL UNIQUE, labels jsonb);
CREATE TABLE resources (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    source text, consumer_name text CONSTRAINT fk_resources_consumers REFERENCES consumers (name), version bigint NOT NULL,
    type text, payload jsonb, status jsonb, name text NOT NULL UNIQUE);
CREATE TABLE server_instances (id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz,
    deleted_at timestamptz, last_heartbeat timestamptz, ready boolean DEFAULT false);
";

const PATIENCE: Duration = Duration::from_secs(60);
