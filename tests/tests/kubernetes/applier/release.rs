//! Giving objects up: only ours, only the same ones, and gone only when they are.

use k8s_openapi::api::core::v1::Namespace;

use super::*;

#[tokio::test]
async fn a_released_object_is_gone_and_its_record_too() -> Result<()> {
    let bench = Bench::new("gone").await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Gone);
    assert!(bench.maps().get_opt("a").await?.is_none());
    let record = bench.records().get_opt(&bench.record_name("a")).await?;
    assert!(record.is_none());
    Ok(())
}

#[tokio::test]
async fn an_orphaned_object_stays_without_owner() -> Result<()> {
    let bench = Bench::new("orphan").await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    assert_eq!(bench.give_up("a", Release::Orphan).await?, Released::Left);
    assert_eq!(bench.owners("a").await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn foreign_owner_is_left_alone() -> Result<()> {
    let bench = Bench::new("foreign").await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    // Somebody takes it over.
    bench
        .edit("a", json!({"metadata": {"ownerReferences": null}}))
        .await?;
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Left);
    assert_eq!(bench.color("a").await?, "red");
    Ok(())
}

#[tokio::test]
async fn an_object_that_was_replaced_is_left_alone() -> Result<()> {
    let bench = Bench::new("replaced").await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    let owner = json!(bench.maps().get("a").await?.metadata.owner_references);
    bench.delete("a").await?;
    let mut theirs = bench.map("a", "green");
    theirs["metadata"]["ownerReferences"] = owner;
    bench.create(theirs).await?;
    // Without settling: the garbage collector would take it with its owner.
    let work = "a".into();
    let held = bench.applier.claim(&work, &[]).await?;
    let released = bench.applier.release(&work, &held[0], Release::Remove);
    assert_eq!(released.await?, Released::Left);
    assert_eq!(bench.color("a").await?, "green");
    Ok(())
}

#[tokio::test]
async fn an_object_that_somebody_removed_counts_as_gone() -> Result<()> {
    let bench = Bench::new("missing").await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    bench.delete("a").await?;
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Gone);
    Ok(())
}

#[tokio::test]
async fn a_finalizer_is_named_and_its_end_wakes_the_work() -> Result<()> {
    let mut bench = Bench::new("finalizer").await?;
    bench.watched().await?;
    bench.hold("a", &bench.map("a", "red")).await?;
    bench
        .edit(
            "a",
            json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        )
        .await?;
    bench.woken("a").await?;
    let pending = Released::Pending("waits for finalizer `example.com/hold`".into());
    assert_eq!(bench.give_up("a", Release::Remove).await?, pending);
    assert_eq!(bench.give_up("a", Release::Remove).await?, pending);
    bench
        .edit("a", json!({"metadata": {"finalizers": null}}))
        .await?;
    bench.woken("a").await?;
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Gone);
    Ok(())
}

#[tokio::test]
async fn a_namespace_says_what_it_waits_for() -> Result<()> {
    let bench = Bench::new("outer").await?;
    let inner = format!("{}-inner", bench.namespace);
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": inner}});
    bench.hold("a", &manifest).await?;
    let mut map = bench.map("held", "red");
    map["metadata"]["namespace"] = json!(inner);
    map["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let maps: Api<DynamicObject> =
        Api::namespaced_with(bench.client.clone(), &inner, &kind("", "ConfigMap"));
    maps.create(&PostParams::default(), &serde_json::from_value(map)?)
        .await?;
    let words = wait_for("words about the content", PATIENCE, async || {
        match bench.give_up("a", Release::Remove).await {
            Ok(Released::Pending(words)) if words.contains("example.com/hold") => Ok(words),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    assert!(words.starts_with("waits for its content: "), "{words}");
    edit(&maps, "held", json!({"metadata": {"finalizers": null}})).await?;
    let namespaces: Api<Namespace> = Api::all(bench.client.clone());
    wait_for("the namespace to go", PATIENCE, async || {
        match namespaces.get_opt(&inner).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Gone);
    Ok(())
}
