//! Kinds and namespaces that are not there, or not any more.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_not_there_yet_is_applied_when_it_comes() -> Result<()> {
    let fixture = Fixture::new("kind").await?;
    let group = format!("{}.example.com", fixture.namespace);
    let version = format!("{group}/v1");
    let gadget = fixture.manifest("one", json!({ "apiVersion": version, "kind": "Gadget" }));
    let words = format!(
        "apply Gadget {}/one: no matches for kind \"Gadget\" in version \"{version}\"; hint: apply the \
         CustomResourceDefinition of `Gadget` in group `{group}`; the work is tried again then",
        fixture.namespace
    );
    let refused = refused(&fixture, &gadget, &[&words]).await?;
    let unavailable = "False ResourceNotAvailable: Resource is not available";
    refused.bundle.says(&[("0/Available", unavailable)]).await?;

    let schema = json!({ "openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
    }});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("gadgets.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    });
    fixture.create(&definition).await?;
    refused.bundle.is_applied().await?;
    ensure!(
        fixture.live(&gadget).await?.is_some(),
        "the gadget is there"
    );
    refused.bundle.goes().await?;
    ensure!(fixture.live(&gadget).await?.is_none(), "the gadget is gone");
    fixture.delete(&definition).await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_goes_or_is_not_there_is_waited_for() -> Result<()> {
    let fixture = Fixture::new("namespace").await?;
    let doomed = Cluster::shared().await?.namespace("doomed").await?;
    let within = |name: &str| {
        let mut map = fixture.map(name, json!({ "value": "1" }));
        map["metadata"]["namespace"] = doomed.as_str().into();
        map
    };
    let mut holding = within("holding");
    holding["metadata"]["finalizers"] = json!(["example.com/hold"]);
    fixture.create(&holding).await?;
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": doomed } });
    fixture.delete(&namespace).await?;

    let parts = [format!(
        "because it is being terminated; hint: wait until namespace `{doomed}` is gone; it is tried again"
    )];
    let map = within("one");
    let refused = refused(&fixture, &map, &[&parts[0]]).await?;
    fixture
        .edit(&holding, json!({ "metadata": { "finalizers": null } }))
        .await?;
    let gone = format!("namespaces \"{doomed}\" not found");
    let hint = format!(
        "hint: put the Namespace `{doomed}` into the work, before this object, or create it"
    );
    let refused = is_refused(refused.bundle, &[&gone, &hint]).await?;
    fixture.create(&namespace).await?;
    // However long the namespace took to go: that it is gone is another cause, and its pauses begin anew.
    refused.bundle.is_applied().await?;
    ensure!(fixture.live(&map).await?.is_some(), "the object is there");
    refused.bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}
