//! A bridge whose sessions share the subscription: the parts of one list come on any of them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_1600_works_in_parts_over_three_sessions_is_answered() -> Result<()> {
    let builder = RegionBuilder::new("resync-shared", BrokerKind::Sandbox)
        .without_quotas()
        .shared(3);
    let mut region = builder.start().await?;
    let over = CancellationToken::new();
    let spy = region.peer("spy", &["maestro/consumers/+/agentevents"])?;
    ensure!(spy.session.ready().await, "the spy subscribes");
    let spy = tokio::spawn(watch(spy, over.clone()));
    let writer = writer(&mut region).await?;
    let mut expected = ExpectedBundles::default();
    let ids: Vec<String> = (0..1_600).map(long_id).collect();
    stream::iter(ids.iter().enumerate())
        .map(|(number, id)| {
            let writer = &writer;
            async move {
                let manifests = manifests(&format!("object-{number}"), 1);
                writer.create(id, "cluster1", &manifests).await
            }
        })
        .buffer_unordered(CALLERS)
        .try_collect::<()>()
        .await?;
    for (number, id) in ids.into_iter().enumerate() {
        let bundle = ExpectedBundle {
            consumer: "cluster1".into(),
            version: 1,
            manifests: manifests(&format!("object-{number}"), 1),
        };
        expected.0.insert(id, bundle);
    }
    expected.reached(&mut region, LONG).await?;

    // What is sent while the agent is away is gone: only its list says what it lacks.
    region.agent("cluster1")?.service.kill()?;
    let acked = async |region: &mut Region| -> Result<u64> {
        let page = region.bridge.metrics().await?;
        Ok(page.count("bridge_spec_events_total", &[("outcome", "acked")]))
    };
    let before = acked(&mut region).await?;
    let (id, bundle) = expected.0.iter_mut().next().context("a bundle")?;
    bundle.manifests = manifests("object-anew", 2);
    bundle.version = writer.change(id, 1, &bundle.manifests).await?;
    wait_for(
        "the change to be sent to nobody",
        PATIENCE,
        async || match acked(&mut region).await {
            Ok(count) if count > before => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    region.agent("cluster1")?.service.restart()?;
    expected.reached(&mut region, LONG).await?;
    over.cancel();
    let seen = spy.await??;
    ensure!(seen.parts >= 3, "{seen:?}");
    region.passed();
    Ok(())
}

/// So long that 500 of them fill a part.
fn long_id(number: usize) -> String {
    format!("bundle-{number:0>190}")
}
