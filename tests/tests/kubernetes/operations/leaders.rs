//! Two processes of one agent: one works, the other stands by and follows.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::region::Service;
use tests::wait::{patient, wait_for};
use tokio::time::Instant;

use super::{OperationsFixture, PATIENCE};

/// Starts the one that stands by. It is ready and has never spoken to the broker.
async fn second(fixture: &mut OperationsFixture) -> Result<Service> {
    second_with(fixture, &[]).await
}

async fn second_with(fixture: &mut OperationsFixture, more: &[&str]) -> Result<Service> {
    leads(&mut fixture.region.agent("cluster1")?.service).await?;
    let kubeconfig = fixture.cluster.kubeconfig().display().to_string();
    let namespace = fixture.work_namespace()?;
    let args = [
        "--kubeconfig",
        &kubeconfig,
        "--namespace",
        namespace,
        "--agent-id",
        namespace,
    ];
    let args = [&args, more].concat();
    let mut second = fixture.region.another_agent("cluster1", "second", args)?;
    second.ready().await?;
    second.process().line_with("standing by", PATIENCE).await?;
    let page = second.metrics().await?;
    ensure!(page.count("mqtt_connections_total", &[]) == 0);
    ensure!(page.count("agent_leader", &[]) == 0);
    Ok(second)
}

async fn leads(service: &mut Service) -> Result<()> {
    wait_for("the leadership", PATIENCE, async || {
        let page = service.metrics().await?;
        let leader = page.count("agent_leader", &[]);
        let sessions = page.count("mqtt_connected_sessions", &[]);
        ensure!(
            (leader, sessions) == (1, 1),
            "leader {leader}, sessions {sessions}"
        );
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

fn nobody_was_thrown_out(services: &mut [&mut Service]) -> Result<()> {
    for service in services {
        let output = service.process().output();
        ensure!(!output.contains("taken over"), "{output}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_is_followed_within_seconds() -> Result<()> {
    let mut fixture = OperationsFixture::open("operations-term", &[]).await?;
    let mut second = second(&mut fixture).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let first = &mut fixture.region.agent("cluster1")?.service;
    first.ready().await?;
    leads(first).await?;
    let page = second.metrics().await?;
    ensure!(page.count("mqtt_connections_total", &[]) == 0);

    let status = first.process().stop(PATIENCE).await?;
    ensure!(status.success(), "{status}");
    let ended = Instant::now();
    leads(&mut second).await?;
    ensure!(
        ended.elapsed() < patient(LEASE / 3),
        "{:?}",
        ended.elapsed()
    );
    fixture.change(&id, 1, "a", "2").await?;
    fixture.applied(&id, 2).await?;
    fixture.value("a", Some("2")).await?;
    let first = &mut fixture.region.agent("cluster1")?.service;
    nobody_was_thrown_out(&mut [first, &mut second])?;
    drop(second);
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_is_followed_when_its_lease_is_over() -> Result<()> {
    let mut fixture = OperationsFixture::open("operations-kill", &[]).await?;
    let mut second = second(&mut fixture).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let died = Instant::now();
    fixture.region.agent("cluster1")?.service.kill()?;
    fixture.change(&id, 1, "a", "2").await?;
    leads(&mut second).await?;
    // One lease since the last renewal that it saw, and what it takes to begin on a busy machine.
    ensure!(
        died.elapsed() < patient(LEASE * 3 / 2),
        "{:?}",
        died.elapsed()
    );
    fixture.applied(&id, 2).await?;
    // Who comes back stands by.
    let first = &mut fixture.region.agent("cluster1")?.service;
    first.restart()?;
    first.ready().await?;
    let page = first.metrics().await?;
    ensure!(page.count("mqtt_connections_total", &[]) == 0);
    nobody_was_thrown_out(&mut [first, &mut second])?;
    drop(second);
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_killed_leads_again_as_soon_as_it_is_back() -> Result<()> {
    let mut fixture = OperationsFixture::open("operations-back", &[]).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let service = &mut fixture.region.agent("cluster1")?.service;
    leads(service).await?;
    for _ in 0..2 {
        service.restart()?;
        let back = Instant::now();
        service.listening().await?;
        wait_for("the leadership", PATIENCE, async || {
            let leader = service.metrics().await?.count("agent_leader", &[]);
            ensure!(leader == 1);
            anyhow::Ok(())
        })
        .await?;
        // A second on an idle machine; whoever waits for the lease takes the whole of it.
        ensure!(back.elapsed() < patient(LEASE / 3), "{:?}", back.elapsed());
    }
    fixture.change(&id, 1, "a", "2").await?;
    fixture.applied(&id, 2).await?;
    fixture.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_one_of_the_same_machine_and_name_stands_by_while_the_first_lives() -> Result<()> {
    // As when somebody starts the program once more in the pod.
    let name = ["--leader-identity", "pod_uid"];
    let mut fixture = OperationsFixture::open("operations-twice", &name).await?;
    let id = fixture.post("a", "1").await?;
    fixture.applied(&id, 1).await?;
    let mut second = second_with(&mut fixture, &name).await?;
    fixture.change(&id, 1, "a", "2").await?;
    fixture.applied(&id, 2).await?;
    let first = &mut fixture.region.agent("cluster1")?.service;
    leads(first).await?;
    nobody_was_thrown_out(&mut [first, &mut second])?;
    drop(second);
    fixture.passed();
    Ok(())
}

/// How long a leader leads that nobody hears of, by default.
const LEASE: Duration = Duration::from_secs(30);
