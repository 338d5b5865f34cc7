//! What an operator sees of an agent: readiness by name, and metrics under the names that dashboards know.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::wait::wait_for;

use super::{OperationsFixture, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_every_part() -> Result<()> {
    let mut fixture = OperationsFixture::open("operations-ready", &[]).await?;
    let admin = fixture
        .region
        .agent("cluster1")?
        .service
        .ready()
        .await?
        .admin;
    let answer = reqwest::get(format!("{admin}/readyz?format=json")).await?;
    ensure!(answer.status().is_success());
    let page: Value = answer.json().await?;
    let checks = page["checks"].as_array().context("a list")?;
    let mut names: Vec<&str> = checks.iter().filter_map(|it| it["name"].as_str()).collect();
    names.sort_unstable();
    let expected = [
        "broker",
        "identity",
        "kubernetes",
        "leader",
        "resync",
        "store",
        "target",
    ];
    ensure!(names == expected, "{names:?}");
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_that_dashboards_know() -> Result<()> {
    let mut fixture = OperationsFixture::open("operations-metrics", &[]).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let service = &mut fixture.region.agent("cluster1")?.service;
    // Gauges are set every few seconds, and a report is counted when it is acknowledged.
    wait_for("a scrape with all of them", PATIENCE, async || {
        let page = service.metrics().await?;
        ensure!(page.count("agent_works", &[]) == 1, "not yet");
        for (name, labels) in [
            (
                "rest_client_requests_total",
                &[("method", "PATCH"), ("code", "200")][..],
            ),
            (
                "rest_client_requests_total",
                &[("method", "POST"), ("code", "201")],
            ),
            (
                "rest_client_request_duration_seconds_count",
                &[("verb", "patch")],
            ),
            ("rest_client_rate_limiter_duration_seconds_count", &[]),
            ("manifestworks_processed_total", &[("code", "success")]),
            ("agent_leader", &[]),
            ("agent_status_reports_total", &[]),
            (
                "build_info",
                &[
                    ("component", "agent"),
                    ("version", env!("CARGO_PKG_VERSION")),
                ],
            ),
            ("mqtt_connections_total", &[]),
        ] {
            let count = page.count(name, labels);
            ensure!(count > 0, "`{name}` {labels:?} among {:?}", page.names());
        }
        anyhow::Ok(())
    })
    .await?;
    fixture.passed();
    Ok(())
}
