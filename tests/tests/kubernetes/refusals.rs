//! What a cluster refuses: a condition at that manifest and nowhere else, with the API server's words and the next
//! step; and once the cause is gone, no more of it.

use anyhow::{Context as _, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tests::api::Change;
use tests::kubernetes::Cluster;
use tests::wait::wait_for;

use crate::fixture::{
    APPLIED, Fixture, MANIFEST_APPLIED, NOT_APPLIED, PATIENCE, PostedBundle, until,
};

mod admission;
mod content;
mod explained;
mod owners;
mod place;
mod rights;
mod rules;
mod status;
mod webhook;

/// A bundle whose first manifest is bad, and what goes on beside it.
struct Refused<'a> {
    bundle: PostedBundle<'a>,
    /// What is said at the bad manifest.
    words: String,
}

/// Posts a manifest that is refused, with a good one after it, and another bundle; waits until the first says all
/// these `parts` and everything else is applied.
async fn refused<'a>(fixture: &'a Fixture, bad: &Value, parts: &[&str]) -> Result<Refused<'a>> {
    let name = bad["metadata"]["name"].as_str().unwrap_or_default();
    let beside = fixture.map(&format!("beside-{name}"), json!({ "value": "1" }));
    let apart = fixture.map(&format!("apart-{name}"), json!({ "value": "1" }));
    let bundle = fixture
        .post_manifests(vec![bad.clone(), beside.clone()])
        .await?;
    let other = fixture.post_manifests(vec![apart.clone()]).await?;
    let refused = is_refused(bundle, parts).await?;
    refused
        .bundle
        .says(&[("1/Applied", MANIFEST_APPLIED)])
        .await?;
    other.is_applied().await?;
    for good in [beside, apart] {
        ensure!(fixture.live(&good).await?.is_some(), "{good} is there");
    }
    Ok(refused)
}

/// Waits until the first manifest is refused with these words, and a hint.
async fn is_refused<'a>(bundle: PostedBundle<'a>, parts: &[&str]) -> Result<Refused<'a>> {
    let all = [
        &["False AppliedManifestFailed: Failed to apply manifest: "],
        parts,
        &["; hint: "],
    ]
    .concat();
    let words = bundle.says_like("0/Applied", &all).await?;
    bundle.says(&[("Applied", NOT_APPLIED)]).await?;
    Ok(Refused { bundle, words })
}
