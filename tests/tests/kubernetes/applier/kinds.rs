//! Kinds that come and go.

use agent::applier::ApplierErrorKind;
use tests::wait::timeout;

use super::*;

fn definition(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gadgeten.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgeten"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

fn gadget(bench: &Bench, group: &str) -> Value {
    json!({
        "apiVersion": format!("{group}/v1"), "kind": "Gadget",
        "metadata": {"name": "g", "namespace": bench.namespace},
        "spec": {"color": "red"},
    })
}

#[tokio::test]
async fn a_definition_and_an_object_of_its_kind_are_applied_in_one_go() -> Result<()> {
    let bench = Bench::new("define").await?;
    let group = format!("{}.example.com", bench.namespace);
    let object = gadget(&bench, &group);
    let looks = [
        (definition(&group), Strategy::Default),
        (object.clone(), Strategy::Default),
    ];
    for outcome in bench.look("w", &looks).await? {
        outcome?;
    }
    assert_eq!(bench.applier.resource(&ObjectRef::of(&object)), "gadgeten");
    let observed = bench.applier.observe(&ObjectRef::of(&object)).await?;
    assert_eq!(observed.context("observed")?["spec"]["color"], "red");
    Ok(())
}

#[tokio::test]
async fn a_work_that_waits_for_a_kind_is_woken_when_somebody_defines_it() -> Result<()> {
    let mut bench = Bench::new("wait").await?;
    let group = format!("{}.example.com", bench.namespace);
    let looks = [(gadget(&bench, &group), Strategy::Default)];
    let error = bench.look("w", &looks).await?.remove(0).unwrap_err();
    assert_eq!(error.kind, ApplierErrorKind::UnknownKind);
    let said = format!("no matches for kind \"Gadget\" in version \"{group}/v1\"");
    assert!(error.message.contains(&said), "{error}");

    let definitions = kind("apiextensions.k8s.io", "CustomResourceDefinition");
    let definitions: Api<DynamicObject> = Api::all_with(bench.client.clone(), &definitions);
    let new = serde_json::from_value(definition(&group))?;
    definitions.create(&PostParams::default(), &new).await?;
    bench.woken("w").await?;
    // It is woken by the definition, and the server may serve the kind a moment later.
    wait_for("the kind", PATIENCE, async || {
        let looked = bench.look("w", &looks).await;
        let mut outcomes = looked.map_err(|error| error.to_string())?;
        outcomes.remove(0).map_err(|error| error.to_string())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn objects_of_a_kind_that_is_gone_are_gone() -> Result<()> {
    let bench = Bench::new("vanish").await?;
    let group = format!("{}.example.com", bench.namespace);
    let definitions = kind("apiextensions.k8s.io", "CustomResourceDefinition");
    let definitions: Api<DynamicObject> = Api::all_with(bench.client.clone(), &definitions);
    let new = serde_json::from_value(definition(&group))?;
    definitions.create(&PostParams::default(), &new).await?;
    let looks = [(gadget(&bench, &group), Strategy::Default)];
    wait_for("the kind", PATIENCE, async || {
        let mut outcomes = bench
            .look("w", &looks)
            .await
            .map_err(|error| error.to_string())?;
        outcomes.remove(0).map_err(|error| error.to_string())
    })
    .await?;
    let name = format!("gadgeten.{group}");
    definitions.delete(&name, &DeleteParams::default()).await?;
    wait_for(
        "the definition to go",
        PATIENCE,
        async || match definitions.get_opt(&name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await?;
    // What serves the kind, and what lists the kinds, follow a little later.
    wait_for("the kind to go", PATIENCE, async || {
        let mut outcomes = bench.look("w", &looks).await?;
        match outcomes.remove(0) {
            Err(error) if error.kind == ApplierErrorKind::UnknownKind => anyhow::Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await?;
    assert_eq!(bench.give_up("w", Release::Remove).await?, Released::Gone);
    Ok(())
}

#[tokio::test]
async fn a_definition_whose_kind_another_one_has_is_not_waited_for() -> Result<()> {
    let bench = Bench::new("taken").await?;
    let group = format!("{}.example.com", bench.namespace);
    let first = definition(&group);
    let mut second = first.clone();
    second["metadata"]["name"] = format!("gizmos.{group}").into();
    second["spec"]["names"]["plural"] = "gizmos".into();
    bench
        .look("w", &[(first, Strategy::Default)])
        .await?
        .remove(0)?;
    let looks = [(second, Strategy::Default)];
    // Well below what one that is only slow is given.
    let look = timeout(Duration::from_secs(10), bench.look("v", &looks));
    look.await??.remove(0)?;
    for work in ["v", "w"] {
        bench.give_up(work, Release::Remove).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_namespaced_object_without_namespace_is_refused() -> Result<()> {
    let bench = Bench::new("nowhere").await?;
    let mut manifest = bench.map("a", "red");
    manifest["metadata"]["namespace"] = Value::Null;
    let looks = [(manifest, Strategy::Default)];
    let error = bench.look("w", &looks).await?.remove(0).unwrap_err();
    assert_eq!(error.kind, ApplierErrorKind::Invalid);
    assert!(error.message.contains("metadata.namespace"), "{error}");
    Ok(())
}
