//! What somebody else changes is noticed within a second, what the agent writes itself is not.

use futures_util::StreamExt as _;
use futures_util::stream;
use tests::test_dir::TestDir;

use super::*;

#[tokio::test]
async fn an_edit_wakes_the_owner_within_a_second_and_is_put_back() -> Result<()> {
    let mut bench = Bench::new("edit").await?;
    bench.watched().await?;
    bench
        .woken_soon("a", async |bench, color| {
            bench.edit("a", json!({"data": {"color": color}})).await
        })
        .await?;
    assert!(bench.hold("a", &bench.map("a", "red")).await?.changed);
    assert_eq!(bench.color("a").await?, "red");
    Ok(())
}

#[tokio::test]
async fn a_deletion_wakes_the_owner_within_a_second_and_is_made_good() -> Result<()> {
    let mut bench = Bench::new("removal").await?;
    bench.watched().await?;
    bench
        .woken_soon("a", async |bench, _| bench.delete("a").await)
        .await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    assert_eq!(bench.color("a").await?, "red");
    Ok(())
}

#[tokio::test]
async fn own_writes_wake_nobody() -> Result<()> {
    let mut bench = Bench::new("quiet").await?;
    bench.watched().await?;
    for color in ["red", "green", "blue"] {
        let looks = (0..50).map(async |number| {
            let name = format!("a{number}");
            bench.hold(&name, &bench.map(&name, color)).await
        });
        // As many at a time as reconcile has workers, so that events and answers overtake each other.
        let outcomes: Vec<_> = stream::iter(looks).buffer_unordered(10).collect().await;
        for outcome in outcomes {
            outcome?;
        }
    }
    bench.give_up("a0", Release::Remove).await?;
    // Events of a kind come in order: whatever the writes caused has come before this.
    bench
        .edit("marker", json!({"data": {"seen": "again"}}))
        .await?;
    assert_eq!(bench.woken("marker").await?, Vec::new());
    Ok(())
}

#[tokio::test]
async fn the_first_object_of_a_kind_does_not_wake_its_own_work() -> Result<()> {
    let mut bench = Bench::new("first").await?;
    let others = bench.watched().await?;
    assert_eq!(others, Vec::new());
    Ok(())
}

#[tokio::test]
async fn after_a_restart_changes_are_told_again() -> Result<()> {
    let mut bench = Bench::new("again").await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    bench.restart().await?;
    bench.watched().await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    bench.edit("a", json!({"data": {"color": "green"}})).await?;
    bench.woken("a").await?;
    Ok(())
}

#[tokio::test]
async fn a_restless_object_wakes_its_owner_at_a_bounded_rate() -> Result<()> {
    let mut bench = Bench::new("restless").await?;
    bench.watched().await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    let began = Instant::now();
    for number in 0..50 {
        bench
            .edit("a", json!({"data": {"count": number.to_string()}}))
            .await?;
    }
    bench.woken("a").await?;
    let mut wakes = 1;
    // Whatever is still due comes within a pause.
    while let Ok(others) = timeout(SOON, bench.woken("a")).await {
        others?;
        wakes += 1;
    }
    let most = 2 + began.elapsed().as_millis() / 500;
    assert!(wakes <= most, "{wakes} wakes, at most {most}");
    Ok(())
}

#[tokio::test]
async fn what_happens_around_a_restart_of_the_api_server_is_told() -> Result<()> {
    let test_dir = TestDir::new("watch")?;
    let mut cluster = Cluster::start(test_dir.path()).await?;
    let client = cluster.client().await?;
    install(&client).await?;
    let namespace = cluster.namespace("restart").await?;
    let mut bench = Bench::of(client.clone(), client, namespace, &[]).await?;
    bench.watched().await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    bench.hold("b", &bench.map("b", "red")).await?;
    cluster.kill_api()?;
    cluster.start_api().await?;
    bench.delete("a").await?;
    bench.woken("a").await?;
    bench.edit("b", json!({"data": {"color": "green"}})).await?;
    bench.woken("b").await?;
    Ok(())
}
