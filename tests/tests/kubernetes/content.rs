//! What becomes of content in practice (inputs in `tests/cases`): what is dropped goes, what has finished stays away,
//! and whoever is in the way is named where the source sees it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};
use tests::api::Change;
use tests::wait::wait_for;

use crate::fixture::{
    APPLIED, Fixture, MANIFEST_APPLIED, NOT_APPLIED, PATIENCE, PostedBundle, SOMEBODY, condition,
    until,
};

mod conflicts;
mod dropped;
mod jobs;
mod names;

/// An input, in the fixture's namespace instead of `default`.
fn case(fixture: &Fixture, text: &str) -> Result<Change> {
    let text = text.replace(
        r#""namespace": "default""#,
        &format!(r#""namespace": "{}""#, fixture.namespace),
    );
    let mut case: Value = serde_json::from_str(&text)?;
    let mut list = |name: &str| match case[name].take() {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    Ok(Change {
        manifests: list("manifests"),
        manifest_configs: list("manifest_configs"),
        ..Change::default()
    })
}

/// The data of the object of a manifest becomes exactly this.
async fn holds(fixture: &Fixture, manifest: &Value, data: Value) -> Result<()> {
    until(fixture, manifest, "its data", |live| live["data"] == data).await
}

/// Somebody applies an object server-side as `manager`.
async fn apply_as(fixture: &Fixture, manager: &str, manifest: &Value) -> Result<()> {
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    let object: DynamicObject = serde_json::from_value(manifest.clone())?;
    let params = PatchParams::apply(manager).force();
    let objects = fixture.objects(manifest);
    objects.patch(name, &params, &Patch::Apply(&object)).await?;
    Ok(())
}
