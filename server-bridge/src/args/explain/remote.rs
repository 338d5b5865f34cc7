//! The same, asked of a running bridge: what the caller may not read is not there.

use link::error::{ExitKind, Failure};
use link::http::client::{ApiClient, ApiError, ApiFlags, query};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Told, ambiguous, nothing};
use crate::store::{KnownNames, Wanted};

/// Asks for the story of what `reference` names.
pub(super) async fn ask(
    flags: &ApiFlags,
    reference: &str,
    wanted: Wanted,
) -> Result<Told, Failure> {
    let client = flags.client().map_err(ApiError::into_failure)?;
    let bundle = match wanted.bundle() {
        true => story(&client, "resource-bundles", reference).await?,
        false => None,
    };
    let consumer = match wanted.consumer() {
        true => story(&client, "consumers", reference).await?,
        false => None,
    };
    match (bundle, consumer) {
        // One that is gone gives way to a consumer that is there.
        (Some(bundle), Some(_)) if !is_gone(&bundle) => Err(ambiguous(reference)),
        (_, Some(consumer)) => Ok(Told::Consumer(Box::new(read(consumer)?))),
        (Some(bundle), None) => Ok(Told::Bundle(Box::new(read(bundle)?))),
        (None, None) => Err(nothing(reference, &names(&client, wanted).await?)),
    }
}

async fn story(client: &ApiClient, kind: &str, reference: &str) -> Result<Option<Value>, Failure> {
    let path = format!("/{kind}/{}/explain", escaped(reference));
    match client.get(&path).await {
        Ok(story) if is_story(&story) => Ok(Some(story)),
        Ok(_) => Err(ApiError::Foreign { path }.into_failure()),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into_failure()),
    }
}

// Of whatever version: another server may answer with JSON of its own, or with nothing.
fn is_story(answer: &Value) -> bool {
    let schema = answer["schema"].as_str();
    schema.is_some_and(|schema| schema.starts_with(SCHEMAS))
}

fn is_gone(story: &Value) -> bool {
    story["subject"].get("source").is_none()
}

fn read<T: DeserializeOwned>(story: Value) -> Result<T, Failure> {
    serde_json::from_value(story).map_err(|error| {
        let error = format!("the story cannot be read: {error}");
        Failure::new(ExitKind::Failed, error)
            .with_hint("take the `server-bridge` of the bridge's version".to_owned())
    })
}

/// What the caller may list, the newest pages of it.
async fn names(client: &ApiClient, wanted: Wanted) -> Result<KnownNames, Failure> {
    let mut names = KnownNames::default();
    if wanted.bundle() {
        names.bundles = listed(client, "resource-bundles", &["id", "name"]).await?;
    }
    if wanted.consumer() {
        names.consumers = listed(client, "consumers", &["name"]).await?;
    }
    Ok(names)
}

async fn listed(client: &ApiClient, kind: &str, fields: &[&str]) -> Result<Vec<String>, Failure> {
    let fields_asked = fields.join(",");
    let asked = [
        ("fields", fields_asked.as_str()),
        ("size", PAGE),
        ("orderBy", "created_at desc"),
    ];
    let page = client.get(&query(&format!("/{kind}"), &asked)).await;
    let page = page.map_err(ApiError::into_failure)?;
    let items = page["items"].as_array().into_iter().flatten();
    let mut names: Vec<String> = items
        .flat_map(|item| fields.iter().filter_map(|field| item[*field].as_str()))
        .map(str::to_owned)
        .collect();
    names.dedup();
    Ok(names)
}

/// A path's segment.
fn escaped(reference: &str) -> String {
    let asked = query("", &[("", reference)]);
    asked.trim_start_matches("?=").to_owned()
}

const SCHEMAS: &str = "maestro-explain/";

// One page of names is some hundred kilobytes.
const PAGE: &str = "5000";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_story_is_known_from_one_of_another_version() {
        for schema in ["maestro-explain/1", "maestro-explain/9"] {
            assert!(is_story(&json!({"schema": schema})), "{schema}");
        }
        for other in [
            json!(null),
            json!([]),
            json!({"schema": 1}),
            json!({"schema": "maestro-findings/1"}),
        ] {
            assert!(!is_story(&other), "{other}");
        }
    }
}
