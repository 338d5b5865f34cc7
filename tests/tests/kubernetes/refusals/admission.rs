//! What policies and webhooks of the cluster refuse.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_denies_is_named_and_its_end_lets_the_object_in() -> Result<()> {
    let fixture = Fixture::new("policy").await?;
    let name = format!("no-bad-{}", fixture.namespace);
    let rule = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
    });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": name },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [rule] },
            "validations": [{
                "expression": "!has(object.data) || !('bad' in object.data)", "message": "bad things stay out",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": name },
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": only(&fixture.namespace) },
        },
    });
    fixture.create(&policy).await?;
    fixture.create(&binding).await?;
    let bad = fixture.map("bad", json!({ "bad": "yes" }));
    until_refused(&fixture, &bad, "denied request").await?;

    let parts = [
        format!("apply ConfigMap {}/bad: ", fixture.namespace),
        format!(
            "ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: bad things stay out"
        ),
        format!("hint: change the manifest as policy `{name}` demands, or the policy"),
    ];
    let refused = refused(&fixture, &bad, &parts.each_ref().map(String::as_str)).await?;
    fixture.delete(&binding).await?;
    fixture.delete(&policy).await?;
    refused.bundle.is_applied().await?;
    refused.bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_does_not_answer_is_named_and_its_end_lets_the_object_in() -> Result<()> {
    let fixture = Fixture::new("webhook").await?;
    let rule = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
    });
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": format!("dead-{}", fixture.namespace) },
        "webhooks": [{
            "name": "dead.example.com", "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 2,
            "admissionReviewVersions": ["v1"], "rules": [rule],
            // Nobody listens on port 1.
            "clientConfig": { "url": "https://127.0.0.1:1/" },
            "namespaceSelector": only(&fixture.namespace),
            "matchConditions": [{ "name": "bad", "expression": "has(object.data) && 'bad' in object.data" }],
        }],
    });
    fixture.create(&webhook).await?;
    let bad = fixture.map("bad", json!({ "bad": "yes" }));
    until_refused(&fixture, &bad, "failed calling webhook").await?;

    let parts = [
        "failed calling webhook \"dead.example.com\"",
        "connection refused",
        "hint: see that the service behind webhook `dead.example.com` runs; it is tried again",
    ];
    let refused = refused(&fixture, &bad, &parts).await?;
    let words = ["bad (apply)", "webhook"];
    explained::explained(&refused.bundle, "MQ908", &words).await?;
    fixture.delete(&webhook).await?;
    refused.bundle.is_applied().await?;
    refused.bundle.goes().await?;
    fixture.region.passed();
    Ok(())
}

pub(super) fn only(namespace: &str) -> Value {
    json!({ "matchLabels": { "kubernetes.io/metadata.name": namespace } })
}

/// The API server takes a moment to notice what it has to ask.
pub(super) async fn until_refused(fixture: &Fixture, manifest: &Value, why: &str) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(manifest.clone())?;
    let rehearsal = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let objects = fixture.objects(manifest);
    wait_for("the refusal", PATIENCE, async || {
        match objects.create(&rehearsal, &object).await {
            Err(error) if error.to_string().contains(why) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}
