//! What the region's `explain` says of an object that a cluster refuses, or does not let go.

use reqwest::Method;

use super::admission::{only, until_refused};
use super::rights::{grant, rule};
use super::webhook::DenyingWebhook;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_explained_with_object_blocker_and_next_step() -> Result<()> {
    let fixture = Fixture::new("explained").await?;
    let theirs = fixture.map("theirs", json!({ "value": "theirs" }));
    let object: DynamicObject = serde_json::from_value(theirs.clone())?;
    let params = PatchParams::apply("another-agent");
    let objects = fixture.objects(&theirs);
    objects
        .patch("theirs", &params, &Patch::Apply(&object))
        .await?;
    let strategy = json!({ "updateStrategy": { "type": "ServerSideApply" } });
    let conflict = fixture
        .post(Change {
            manifests: vec![fixture.map("theirs", json!({ "value": "ours" }))],
            manifest_configs: vec![fixture.config("configmaps", "theirs", strategy)],
            ..Change::default()
        })
        .await?;
    let widget = json!({ "apiVersion": "example.com/v1", "kind": "Widget" });
    let kind = fixture
        .post_manifests(vec![fixture.manifest("widget", widget)])
        .await?;
    let nowhere = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "not-there" },
    });
    let namespace = fixture.post_manifests(vec![nowhere]).await?;
    for (bundle, words) in [
        (
            &conflict,
            vec![
                "theirs (apply)",
                "field manager `another-agent`: .data.value",
                "`force: true`",
            ],
        ),
        (
            &kind,
            vec![
                "Widget",
                "no kind `Widget` in `example.com/v1`",
                "CustomResourceDefinition",
            ],
        ),
        (
            &namespace,
            vec!["no namespace `not-there`", "create it on the cluster"],
        ),
    ] {
        explained(bundle, "MQ908", &words).await?;
    }
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_a_finalizer_holds_is_explained_by_its_name() -> Result<()> {
    let fixture = Fixture::new("explained-deletion").await?;
    let mut held = fixture.map("held", json!({ "value": "1" }));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let bundle = fixture.post_manifests(vec![held.clone()]).await?;
    bundle.is_applied().await?;
    bundle.delete().await?;
    let words = [
        "held",
        "`example.com/hold`",
        "controller behind the finalizer",
    ];
    explained(&bundle, "MQ910", &words).await?;
    fixture
        .edit(&held, json!({ "metadata": { "finalizers": null } }))
        .await?;
    bundle.is_gone().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_denies_an_object_is_explained_with_its_name_and_its_words() -> Result<()> {
    let fixture = Fixture::new("explained-webhook").await?;
    let webhook = DenyingWebhook::start("labels are missing: `team`").await?;
    let rule = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
    });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": format!("deny-{}", fixture.namespace) },
        "webhooks": [{
            "name": "deny.example.com", "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 10,
            "admissionReviewVersions": ["v1"], "rules": [rule],
            "clientConfig": { "url": webhook.url(), "caBundle": webhook.ca_bundle() },
            "namespaceSelector": only(&fixture.namespace),
            "matchConditions": [{ "name": "bad", "expression": "has(object.data) && 'bad' in object.data" }],
        }],
    });
    fixture.create(&configuration).await?;
    let bad = fixture.map("bad", json!({ "bad": "yes" }));
    until_refused(&fixture, &bad, "denied the request").await?;
    let beside = fixture.map("beside", json!({ "value": "1" }));
    let bundle = fixture
        .post_manifests(vec![bad.clone(), beside.clone()])
        .await?;
    let object = format!("ConfigMap {}/bad (apply)", fixture.namespace);
    let words = [
        object.as_str(),
        "webhook `deny.example.com` denies it",
        "denied the request: labels are missing: `team`",
        "change the manifest as webhook `deny.example.com` demands",
    ];
    explained(&bundle, "MQ908", &words).await?;
    // What it does not deny is there meanwhile, and what it allows in the end comes by itself.
    ensure!(fixture.live(&beside).await?.is_some(), "{beside} is there");
    fixture.delete(&configuration).await?;
    bundle.is_applied().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_the_agent_lacks_is_explained_with_user_verb_and_object() -> Result<()> {
    let namespace = Cluster::shared()
        .await?
        .namespace("explained-rights")
        .await?;
    let user = format!("agent-of-{namespace}");
    let records = rule(
        &[
            "work.open-cluster-management.io",
            "coordination.k8s.io",
            "events.k8s.io",
        ],
        &["*"],
    );
    let kinds = rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"]);
    let mut maps = rule(&[""], &["configmaps"]);
    maps["verbs"] = json!(["get", "list", "watch", "create", "update", "patch"]);
    grant(&user, &user, vec![records, kinds, maps]).await?;
    let fixture = Fixture::restricted("explained-rights", namespace, &user).await?;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "stringData": { "a": "hidden" } });
    let secret = fixture.manifest("one", secret);
    let refused = fixture.post_manifests(vec![secret]).await?;
    let may_not = |verb: &str, resource: &str| format!("`{user}` may not `{verb}` `{resource}`");
    let object = format!("Secret {}/one (apply)", fixture.namespace);
    let words = [
        &object,
        &may_not("patch", "secrets"),
        "let that user `patch` `secrets`",
        "`agent permissions` prints the role",
    ];
    explained(&refused, "MQ908", &words).await?;

    // What it may write and not delete.
    let map = fixture.map("kept", json!({ "value": "1" }));
    let kept = fixture.post_manifests(vec![map]).await?;
    kept.is_applied().await?;
    kept.delete().await?;
    let object = format!("ConfigMap {}/kept cannot be removed", fixture.namespace);
    let words = [
        &object,
        "cannot delete resource \\\"configmaps\\\"",
        "let that user `delete` `configmaps`",
    ];
    explained(&kept, "MQ910", &words).await?;

    let all = vec![rule(&[""], &["secrets", "configmaps"])];
    grant(&format!("{user}-all"), &user, all).await?;
    refused.is_applied().await?;
    kept.is_gone().await?;
    fixture.region.passed();
    Ok(())
}

/// Waits until the story of a bundle has this code and these words.
pub(super) async fn explained(bundle: &PostedBundle<'_>, code: &str, words: &[&str]) -> Result<()> {
    let path = format!("/resource-bundles/{}/explain", bundle.id);
    wait_for(
        &format!("{code} of `{}`", bundle.id),
        PATIENCE,
        async || {
            let answer = bundle.fixture.api.raw(Method::GET, &path, None).await;
            let (_, text) = answer.map_err(|error| error.to_string())?;
            let story: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
            let stay = &story["waiting"];
            let told = format!("{} {}", stay["why"], stay["next"]);
            match stay["code"] == code && words.iter().all(|word| told.contains(word)) {
                true => Ok(()),
                false => Err(text),
            }
        },
    )
    .await?;
    Ok(())
}
