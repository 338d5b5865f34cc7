//! A stand-in for the External Secrets Operator, which comes as an image only: writes the Secret that an ExternalSecret of
//! API v1 names, out of Secrets Manager, as often as it can. It knows `data` with properties and nothing else of the API,
//! and does not ask a store who may read.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::secrets::Secrets;

/// Works for ever. What fails is tried again, and is in the status of the ExternalSecret.
pub(super) async fn run(client: Client, secrets: Secrets) {
    let kind = GroupVersionKind::gvk(GROUP, "v1", "ExternalSecret");
    let kind = ApiResource::from_gvk_with_plural(&kind, "externalsecrets");
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        interval.tick().await;
        let Ok(wanted) = all.list(&ListParams::default()).await else {
            continue;
        };
        for external in wanted {
            let outcome = write(&client, &secrets, &external).await;
            let condition = match &outcome {
                Ok(()) => json!({ "type": "Ready", "status": "True", "reason": "SecretSynced" }),
                Err(error) => json!({
                    "type": "Ready", "status": "False", "reason": "SecretSyncedError", "message": error,
                }),
            };
            let namespace = external.namespace().unwrap_or_default();
            let own: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
            let status = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
            // One that is gone meanwhile needs none.
            let _ = own
                .patch_status(&external.name_any(), &PatchParams::default(), &status)
                .await;
        }
    }
}

async fn write(client: &Client, secrets: &Secrets, external: &DynamicObject) -> Result<(), String> {
    let spec = &external.data["spec"];
    let target = &spec["target"];
    let mut data = BTreeMap::new();
    for entry in spec["data"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (key, property) = (
            text(&entry["remoteRef"]["key"]),
            text(&entry["remoteRef"]["property"]),
        );
        let found = secrets.get(&key).await.map_err(|error| error.to_string())?;
        let found = found.as_ref().and_then(|value| value[&property].as_str());
        let found = found.ok_or_else(|| format!("could not get `{property}` of `{key}`"))?;
        data.insert(text(&entry["secretKey"]), ByteString(found.into()));
    }
    let name = target["name"].as_str().unwrap_or_default();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": target["template"]["type"],
        "metadata": {
            "name": name,
            "labels": target["template"]["metadata"]["labels"],
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1"), "kind": "ExternalSecret",
                "name": external.name_any(), "uid": external.uid(), "controller": true,
            }],
        },
        "data": data,
    });
    let namespace = external.namespace().unwrap_or_default();
    let there: Api<k8s_openapi::api::core::v1::Secret> =
        Api::namespaced(client.clone(), &namespace);
    let params = PatchParams::apply("external-secrets").force();
    let written = there.patch(name, &params, &Patch::Apply(secret)).await;
    written.map(drop).map_err(|error| error.to_string())
}

const GROUP: &str = "external-secrets.io";

const INTERVAL: Duration = Duration::from_secs(1);
