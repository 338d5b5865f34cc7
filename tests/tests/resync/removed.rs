//! A cluster that is lost is removed here; one that comes back after all keeps what it holds.

use reqwest::Method;
use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_removed_with_its_bundles_may_come_back_and_keeps_its_works()
-> Result<()> {
    let mut region = RegionBuilder::new("resync-removed", BrokerKind::Sandbox)
        .start()
        .await?;
    let writer = writer(&mut region).await?;
    let mut expected = ExpectedBundles::default();
    create(&writer, &mut expected, 0..3).await?;
    expected.reached(&mut region, PATIENCE).await?;
    let api = region.api().await?;
    wait_for("its agent to be noted as heard", PATIENCE, async || {
        let path = "/consumers?fields=name,last_seen_at";
        match api.raw(Method::GET, path, None).await {
            Ok((200, page)) if page.contains("last_seen_at") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    region.agent("cluster1")?.service.kill()?;
    for (query, expected) in [
        ("", 403),
        ("?force=true", 409),
        ("?force=true&confirm=cluster1", 204),
    ] {
        let path = format!("/consumers/cluster1{query}");
        let (status, body) = api.raw(Method::DELETE, &path, None).await?;
        ensure!(status == expected, "{query}: {status} {body}");
    }
    let line = region
        .bridge
        .process()
        .line_with("Removed a consumer with its bundles", PATIENCE)
        .await?;
    for field in ["audit", "127.0.0.1:", "cluster1", "bundles", "last_seen"] {
        ensure!(line.contains(field), "`{field}` in {line}");
    }
    ensure!(api.bundles("").await?.total == 0);

    let again = json!({ "name": "cluster1" });
    api.raw(Method::POST, "/consumers", Some(&again)).await?;
    region.agent("cluster1")?.service.restart()?;
    unknown_works(&mut region, 3).await?;
    ensure!(files(&region.agent("cluster1")?.target)?.len() == 3);
    region.passed();
    Ok(())
}
