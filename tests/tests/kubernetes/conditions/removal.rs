//! What is said while a bundle goes.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_is_named_until_it_is_removed_and_then_the_bundle_is_gone() -> Result<()> {
    let fixture = Fixture::new("deleting").await?;
    let mut held = fixture.map("held", json!({ "value": "1" }));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let free = fixture.map("free", json!({ "value": "1" }));
    let bundle = fixture
        .post_manifests(vec![held.clone(), free.clone()])
        .await?;
    bundle
        .says(&[("Applied", APPLIED), ("Deleting", ABSENT)])
        .await?;
    bundle.delete().await?;
    let blocker = format!(
        "ConfigMap {}/held waits for finalizer `example.com/hold`",
        fixture.namespace
    );
    bundle
        .says(&[
            (
                "Deleting",
                &format!("True WorkDeleting: ManifestWork is being deleted: {blocker}"),
            ),
            ("0/Deleting", &format!("True ObjectTerminating: {blocker}")),
            ("1/Deleting", ABSENT),
            ("Deleted", ABSENT),
        ])
        .await?;
    until(
        &fixture,
        &free,
        "the other object to be gone",
        Value::is_null,
    )
    .await?;
    ensure!(
        bundle.bundle().await?.deleted_at.is_some(),
        "REST says that it is being deleted"
    );
    let begun = Instant::now();
    fixture
        .edit(&held, json!({ "metadata": { "finalizers": null } }))
        .await?;
    bundle.is_gone().await?;
    println!("gone {:?} after its finalizer", begun.elapsed());
    until(&fixture, &held, "the object to be gone", Value::is_null).await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_that_stays_is_named_at_its_manifest() -> Result<()> {
    let fixture = Fixture::new("deleting-two").await?;
    let held = ["one", "two"].map(|name| {
        let mut map = fixture.map(name, json!({ "value": "1" }));
        map["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/too"]);
        map
    });
    let bundle = fixture.post_manifests(held.to_vec()).await?;
    bundle.says(&[("Applied", APPLIED)]).await?;
    bundle.delete().await?;
    let blocker = |name: &str| {
        format!(
            "ConfigMap {}/{name} waits for finalizers `example.com/hold`, `example.com/too`",
            fixture.namespace
        )
    };
    bundle
        .says(&[
            (
                "Deleting",
                // Released against the order of applying.
                &format!(
                    "True WorkDeleting: ManifestWork is being deleted: {}, and 1 more objects are still there",
                    blocker("two")
                ),
            ),
            ("0/Deleting", &format!("True ObjectTerminating: {}", blocker("one"))),
            ("1/Deleting", &format!("True ObjectTerminating: {}", blocker("two"))),
        ])
        .await?;
    for map in &held {
        fixture
            .edit(map, json!({ "metadata": { "finalizers": null } }))
            .await?;
    }
    bundle.is_gone().await?;
    for map in &held {
        wait_for("the object to be gone", PATIENCE, async || {
            ensure!(fixture.live(map).await?.is_none(), "it is there");
            anyhow::Ok(())
        })
        .await?;
    }
    fixture.region.passed();
    Ok(())
}
