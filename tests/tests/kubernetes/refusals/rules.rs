//! Rules that match nothing: refused where they are given, or told where only the cluster knows.

use super::*;
use crate::fixture::ABSENT;

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_with_another_plural_than_the_clusters_is_told_in_the_status() -> Result<()> {
    let fixture = Fixture::new("plural").await?;
    let group = format!("{}.example.com", fixture.namespace);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("gadgeten.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "kind": "Gadget", "plural": "gadgeten" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    });
    let defined = fixture.post_manifests(vec![definition]).await?;
    defined.is_applied().await?;
    let rest = json!({ "apiVersion": format!("{group}/v1"), "kind": "Gadget" });
    let gadget = fixture.manifest("g", rest);
    let only = |resource: &str| {
        let settings = json!({ "updateStrategy": { "type": "CreateOnly" } });
        Change {
            manifests: vec![gadget.clone()],
            manifest_configs: vec![fixture.config(&format!("{group}/{resource}"), "g", settings)],
            ..Change::default()
        }
    };
    let bundle = fixture.post(only("gadgets")).await?;
    let parts = [
        "False NoManifestMatches: manifestConfigs[0] matches no manifest; the nearest is manifests[0] (Gadget ",
        "whose resource is `gadgeten`, not `gadgets`",
    ];
    bundle.says_like("ManifestConfigsMatched", &parts).await?;
    bundle.is_applied().await?;
    bundle.change_all(only("gadgeten")).await?;
    bundle
        .says(&[("Applied", APPLIED), ("ManifestConfigsMatched", ABSENT)])
        .await?;
    bundle.goes().await?;
    defined.goes().await?;
    fixture.region.passed();
    Ok(())
}
