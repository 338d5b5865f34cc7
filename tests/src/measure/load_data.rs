//! Bundles to measure with: the two sizes of the reference measurements, and callers that create them.

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::api::{Api, Change};

/// A ConfigMap whose bundle is about `bytes` long: lines of text as configuration has them, quotes included.
pub fn manifest(name: &str, bytes: usize) -> Value {
    let mut text = String::with_capacity(bytes);
    let mut line = 0;
    // Escapes count twice and the object around the text about 180.
    while text.len() + 3 * line + 180 < bytes {
        text.push_str(&format!("setting-{line:05}: \"value {}\"\n", line * 7919));
        line += 1;
    }
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": "bench" } },
        "data": { "config.yaml": text },
    })
}

/// Creates `count` bundles of one manifest each from several callers at once; `bytes` tells the size by number.
///
/// # Errors
/// When the bridge refuses one.
pub async fn create_many(
    api: &Api,
    consumer: &str,
    prefix: &str,
    count: usize,
    callers: usize,
    bytes: impl Fn(usize) -> usize,
) -> Result<()> {
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (api, consumer) = (api.clone(), consumer.to_owned());
        let sizes: Vec<(String, usize)> = (caller..count)
            .step_by(callers)
            .map(|number| (format!("{prefix}-{number}"), bytes(number / callers)))
            .collect();
        tasks.spawn(async move {
            for (name, bytes) in sizes {
                let change = Change::create(&consumer, vec![manifest(&name, bytes)]);
                api.create_bundle(&change).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Bytes of a small bundle in the reference measurements.
pub const SMALL: usize = 3_127;

/// Bytes of a big one.
pub const BIG: usize = 49_899;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_have_the_size_they_say() {
        for size in [SMALL, BIG] {
            let text = json!({ "manifests": [manifest("name-1", size)] }).to_string();
            assert!(text.len().abs_diff(size) < size / 20, "{}", text.len());
        }
    }
}
