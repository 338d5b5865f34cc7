//! A region that is broken for real, watched by a real Prometheus with the rules as the charts render them.
//!
//! All durations in the rules are shortened by [`FACTOR`], so that five minutes are fifteen seconds; what the processes
//! themselves wait for (a silent connection, a lease, 20 seconds until a cluster counts as silent) is real. That the alerts
//! keep their real times is what `tests/rules` proves.

// Long because it is the story of one region, fault after fault.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use jiff::SignedDuration;
use link::clock::Clock;
use link::id::ConsumerName;
use link::message::Message;
use link::topic::Scheme;
use sandbox::pki::{CertificateRequest, Layout};
use serde_json::Value;
use tests::api::{Api, Change, config_map};
use tests::postgres::Server;
use tests::prometheus::{Prometheus, Target};
use tests::region::{BRIDGE, BrokerKind, Network, Region, RegionBuilder, Service};
use tests::test_dir::TestDir;
use tests::wait::wait_for;

use super::charts::{CHARTS, dashboards, panels, queries, rendered, rules, variables};

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_fires_for_its_fault_and_each_panel_shows_something() -> Result<()> {
    let logs = TestDir::new("monitoring-live")?;
    let server = Server::start(&[])?;
    let files = logs.dir("database")?;
    let database = server.database()?;
    server.mount(&files, &database)?;
    let mut region = RegionBuilder::new("monitoring-region", BrokerKind::Sandbox)
        .agents(4)
        .network(Network::Retargetable)
        .layout(Layout::PerFileRename)
        .replicas(&files, 2)
        .start()
        .await?;
    let prometheus = watch(&mut region, logs.path()).await?;
    let api = region.api().await?;
    for number in 1..=4 {
        post(&api, number, "first", "one").await?;
    }
    healthy(&prometheus).await?;

    // Faults that do not get in each other's way, all at once; what is slowest first.
    let gone = region.agent("cluster1")?;
    gone.service.kill()?;
    let stuck = region.agent("cluster4")?.target.clone();
    std::fs::rename(&stuck, stuck.with_extension("away"))?;
    std::fs::write(&stuck, "no directory")?;
    post(&api, 1, "unheard", "one").await?;
    post(&api, 4, "stuck", "one").await?;
    let away = region.proxies.get("cluster2").context("a proxy")?;
    away.refuse();
    away.break_all();
    short_lived(&mut region, "cluster3")?;
    torn(&mut region, "cluster2")?;
    let (large, mut number) = ("x".repeat(100_000), 0);
    let more_than_the_quota = async || {
        let posts = (number..number + 20).map(async |number| {
            let name = format!("large-{number}");
            post(&api, 3, &name, &large).await
        });
        number += 20;
        try_join_all(posts).await.map(drop)
    };
    fires_for(
        &prometheus,
        "QuotaNear",
        "server-bridge",
        more_than_the_quota,
    )
    .await?;
    let peer = region.peer("intruder", &[])?;
    let (scheme, name) = (Scheme::default(), ConsumerName::new("cluster3")?);
    for (alert, container, topic) in [
        ("AgentEventsRefused", "agent", scheme.source_events(&name)),
        ("EventsRefused", "", scheme.agent_events(&name)),
    ] {
        let no_event = async || {
            let message = Message::new(topic.clone(), "no event");
            peer.session.publish(message).await?.await?;
            Ok(())
        };
        fires_for(&prometheus, alert, container, no_event).await?;
    }
    for (alert, container) in [
        ("AgentDown", ""),
        ("AgentDisconnected", "agent"),
        ("AgentNotReady", "agent"),
        ("CertificateExpires", "agent"),
        ("CertificateRefused", "agent"),
        ("BundleNotApplied", "server-bridge"),
        ("ConsumerSilent", "server-bridge"),
    ] {
        fires(&prometheus, alert, container).await?;
    }
    show_something(&prometheus).await?;

    // The way between the server and the broker.
    let way = region.proxies.get(BRIDGE).context("a proxy")?;
    way.refuse();
    way.break_all();
    post(&api, 3, "unsent", "one").await?;
    fires(&prometheus, "ServerBridgeDisconnected", "server-bridge").await?;
    fires(&prometheus, "BundleUnsent", "server-bridge").await?;
    way.pass();

    // A look at what waits that cannot be taken.
    server.sql(&database, "ALTER TABLE bridge.ledger RENAME TO ledger_away")?;
    fires(&prometheus, "WaitingUnknown", "server-bridge").await?;
    server.sql(&database, "ALTER TABLE bridge.ledger_away RENAME TO ledger")?;

    // The database, and one replica after the other.
    server.stop()?;
    fires(&prometheus, "DatabaseAway", "server-bridge").await?;
    fires(&prometheus, "ServerBridgeNotReady", "server-bridge").await?;
    region.replicas[0].kill()?;
    fires(&prometheus, "ServerBridgeDown", "server-bridge").await?;
    region.bridge.kill()?;
    fires(&prometheus, "ServerBridgeAbsent", "").await?;
    peer.shutdown().await?;
    drop(prometheus);
    region.passed();
    logs.passed();
    Ok(())
}

/// A Prometheus that scrapes every process, with the rules of the server's chart and of the agent's in each cluster.
async fn watch(region: &mut Region, logs: &Path) -> Result<Prometheus> {
    let mut targets = Vec::new();
    let bridges = std::iter::once(&mut region.bridge).chain(&mut region.replicas);
    for (number, bridge) in bridges.enumerate() {
        let pod = format!("server-{number}");
        targets.push(target(bridge, "server-bridge", SERVER, &pod).await?);
    }
    let mut files = vec![shortened("server-bridge", SERVER, logs).await?];
    for (name, agent) in &mut region.agents {
        targets.push(target(&mut agent.service, "agent", name, "agent-0").await?);
        files.push(shortened("agent", name, logs).await?);
    }
    let home = logs.join("prometheus");
    std::fs::create_dir_all(&home)?;
    let prometheus = Prometheus::start(&home, &files).await?;
    prometheus.scrape(&targets)?;
    let loaded = prometheus.rules().await?;
    for chart in CHARTS {
        for rule in rules(chart)? {
            let name = rule["alert"].as_str().unwrap_or_default();
            ensure!(loaded.iter().any(|one| one == name), "{name} is not loaded");
        }
    }
    Ok(prometheus)
}

async fn target(
    service: &mut Service,
    container: &str,
    namespace: &str,
    pod: &str,
) -> Result<Target> {
    let admin = service.listening().await?.admin;
    let address = admin.strip_prefix("http://").unwrap_or(&admin);
    Ok(Target {
        address: address.trim_end_matches('/').to_owned(),
        container: container.to_owned(),
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
    })
}

/// Everybody is scraped, and no alert fires.
async fn healthy(prometheus: &Prometheus) -> Result<()> {
    wait_for("a region without alerts", PATIENCE, async || {
        let scraped = prometheus.query("sum(up)").await;
        let scraped = scraped.map_err(|error| error.to_string())?;
        let count = scraped
            .first()
            .map_or("0", |one| one["value"][1].as_str().unwrap_or_default());
        if count != "6" {
            return Err(format!("{count} of 6 processes are scraped"));
        }
        let firing = prometheus.query("ALERTS{alertstate=\"firing\"}").await;
        let firing = firing.map_err(|error| error.to_string())?;
        match firing.is_empty() {
            true => Ok(()),
            false => Err(format!("{firing:?}")),
        }
    })
    .await?;
    Ok(())
}

/// Waits until an alert fires, of this container if it is said.
async fn fires(prometheus: &Prometheus, alert: &str, container: &str) -> Result<()> {
    let found = wait_for(alert, FIRES_WITHIN, async || {
        let firing = prometheus.firing(alert).await;
        let firing = firing.map_err(|error| error.to_string())?;
        let of = |one: &Value| container.is_empty() || one["labels"]["container"] == container;
        match firing.into_iter().find(of) {
            Some(found) => Ok(found),
            None => Err("it does not fire".to_owned()),
        }
    })
    .await?;
    let notes = &found["annotations"];
    let described = notes["description"].as_str().unwrap_or_default();
    ensure!(
        !described.is_empty() && !described.contains("<no value>"),
        "{alert}: {described}"
    );
    Ok(())
}

/// The same, of an alert that looks at a short time: its cause is made again and again.
async fn fires_for(
    prometheus: &Prometheus,
    alert: &str,
    container: &str,
    mut cause: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let firing = fires(prometheus, alert, container);
    tokio::pin!(firing);
    loop {
        cause().await?;
        if let Ok(fired) = tokio::time::timeout(CAUSED_EVERY, &mut firing).await {
            return fired;
        }
    }
}

/// Every query of every dashboard is understood and answered by one series at least, sooner or later.
async fn show_something(prometheus: &Prometheus) -> Result<()> {
    let shown = async || {
        shows_something(prometheus)
            .await
            .map_err(|error| format!("{error:#}"))
    };
    Ok(wait_for("the dashboards", FIRES_WITHIN, shown).await?)
}

async fn shows_something(prometheus: &Prometheus) -> Result<()> {
    for (name, dashboard) in dashboards()? {
        for component in ["server-bridge", "agent"] {
            for query in variables(&dashboard, component) {
                let series = prometheus.query(&query).await?;
                ensure!(!series.is_empty(), "{name}: nothing answers `{query}`");
            }
        }
        for panel in panels(&dashboard) {
            for component in ["server-bridge", "agent"] {
                for query in queries(panel, component) {
                    let series = prometheus.query(&query).await?;
                    let absent = IN_A_CLUSTER.iter().any(|metric| query.contains(metric));
                    if series.is_empty() != absent {
                        bail!(
                            "{name}, {}: `{query}` is answered by {series:?}",
                            panel["title"]
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

async fn post(api: &Api, cluster: usize, name: &str, value: &str) -> Result<()> {
    let manifest = config_map(name, value);
    let change = Change::create(&format!("cluster{cluster}"), vec![manifest]);
    let created = api.create_bundle(&change).await;
    created.with_context(|| format!("post {name} for cluster{cluster}"))?;
    Ok(())
}

/// A certificate that the broker takes and that ends in thirteen days.
fn short_lived(region: &mut Region, consumer: &str) -> Result<()> {
    let now = Clock::system().now();
    let day = SignedDuration::from_hours(24);
    let request = CertificateRequest::new(consumer).valid(now - day, now + day * 13);
    let set = region.authority.issue(&request)?;
    let registry = region.broker.sandbox()?.registry();
    registry.register_pem(&set.certificate, &[consumer])?;
    region.agent(consumer)?.mount.replace(&set)
}

/// A certificate without its key.
fn torn(region: &mut Region, consumer: &str) -> Result<()> {
    let other = region.authority.client(consumer)?;
    let mount = &region.agent(consumer)?.mount;
    mount.replace_file("certificate", &other.certificate)
}

/// Writes the rules as the chart renders them for a namespace, with all their durations shortened.
async fn shortened(chart: &str, namespace: &str, logs: &Path) -> Result<PathBuf> {
    let objects = rendered(chart, "rel", namespace, logs).await?;
    let rule = objects
        .iter()
        .find(|object| object["kind"] == "PrometheusRule");
    let mut spec = rule.context("a PrometheusRule")?["spec"].clone();
    let groups = spec["groups"].as_array_mut().context("groups")?;
    for group in groups {
        group["interval"] = "1s".into();
        for rule in group["rules"].as_array_mut().context("rules")? {
            if let Some(long) = rule["for"].as_str() {
                rule["for"] = short(long)?.into();
            }
            let expression = rule["expr"].as_str().context("an expression")?;
            rule["expr"] = expression
                .lines()
                .map(line)
                .collect::<Result<Vec<_>>>()?
                .join("\n")
                .into();
        }
    }
    let file = logs.join(format!("{chart}-{namespace}.json"));
    std::fs::write(&file, spec.to_string())?;
    Ok(file)
}

/// A line of an expression with a shorter range, and a shorter limit where seconds of waiting are compared.
fn line(text: &str) -> Result<String> {
    let mut text = text.to_owned();
    if let Some((before, rest)) = text.split_once('[') {
        let (range, after) = rest.split_once(']').context("a range ends")?;
        text = format!("{before}[{}]{after}", short(range)?);
    }
    let waits = [
        "readiness_check_failing_seconds",
        "bridge_waiting_oldest_seconds",
    ];
    if let Some((before, limit)) = text.rsplit_once(" > ")
        && waits.iter().any(|metric| before.contains(metric))
    {
        let limit: f64 = limit.parse()?;
        text = format!("{before} > {}", limit / f64::from(FACTOR));
    }
    Ok(text)
}

/// `20s` or `5m`, shortened.
fn short(duration: &str) -> Result<String> {
    let (number, unit) = duration.split_at(duration.len() - 1);
    let number: u32 = number.parse().with_context(|| duration.to_owned())?;
    let seconds = match unit {
        "s" => number,
        "m" => number * 60,
        other => bail!("no unit is called `{other}`"),
    };
    Ok(format!("{}ms", seconds * 1000 / FACTOR))
}

#[test]
fn rules_are_shortened_where_they_wait_and_nowhere_else() -> Result<()> {
    assert_eq!(short("5m")?, "15000ms");
    assert_eq!(
        line("rate(x_seconds_total[1m]) > 0.5")?,
        "rate(x_seconds_total[3000ms]) > 0.5"
    );
    assert_eq!(
        line("readiness_check_failing_seconds{check=\"a\"} > 10")?,
        "readiness_check_failing_seconds{check=\"a\"} > 0.5"
    );
    Ok(())
}

/// By how much durations are shortened.
const FACTOR: u32 = 20;

/// Metrics that only an agent has that works in a cluster; these agents work on directories.
const IN_A_CLUSTER: [&str; 2] = ["agent_leader", "rest_client_requests_total"];

/// The server's namespace.
const SERVER: &str = "maestro";

const PATIENCE: Duration = Duration::from_secs(30);

// The real promise is 60 s with a scrape each 15 s; here what the processes wait for is all that takes time.
const CAUSED_EVERY: Duration = Duration::from_secs(2);
const FIRES_WITHIN: Duration = Duration::from_secs(60);
