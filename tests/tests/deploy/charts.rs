//! The charts with the values that Argo CD would pass, and what their objects owe it: an order, nothing that goes by
//! accident, and the same objects for the same values.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{documents, helm, root, text};

/// What Argo CD renders of a chart: `helm template` with files of values and then values.
pub(super) async fn rendered(
    logs: &Path,
    chart: &Path,
    release: &str,
    namespace: &str,
    files: &[String],
    values: &Value,
) -> Result<Vec<Value>> {
    // Later files go before earlier ones, and `valuesObject` before all.
    let last = logs.join(format!("{release}-values-object.yaml"));
    std::fs::write(&last, values.to_string())?;
    let (chart, last) = (chart.display().to_string(), last.display().to_string());
    let mut arguments = vec!["template", release, &chart, "--namespace", namespace];
    for file in files.iter().chain([&last]) {
        arguments.extend(["--values", file]);
    }
    let once = helm(logs, &arguments).await?;
    ensure!(
        once == helm(logs, &arguments).await?,
        "renders differ: drift"
    );
    let objects = documents(&once)?;
    // Argo CD knows no `test` hook and leaves it out.
    let objects = objects
        .into_iter()
        .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] != "test");
    let objects: Vec<_> = objects.collect();
    ordered(&objects)?;
    Ok(objects)
}

/// A chart of `deploy/` by the path in a source.
pub(super) fn chart(path: &Value) -> Result<std::path::PathBuf> {
    let chart = root().join(path.as_str().context("the source names a path")?);
    ensure!(chart.join("Chart.yaml").is_file(), "{}", chart.display());
    Ok(chart)
}

/// Definitions come first and stay, then secrets, then who reads them; and nothing is a hook.
fn ordered(objects: &[Value]) -> Result<()> {
    for object in objects {
        let notes = &object["metadata"]["annotations"];
        let kind = text(&object["kind"]);
        ensure!(
            notes["helm.sh/hook"].is_null(),
            "{kind} is a hook, which Argo CD runs at every sync"
        );
        let wave: i32 = notes["argocd.argoproj.io/sync-wave"]
            .as_str()
            .map_or(Ok(0), str::parse)?;
        let expected = match kind {
            "CustomResourceDefinition" | "SecretStore" | "ClusterSecretStore" => -2,
            "SecretProviderClass" | "ExternalSecret" => -1,
            // Amazon's authorities, which pods mount too.
            "ConfigMap" if object["metadata"]["name"] == "rds-ca-bundle" => -1,
            _ => 0,
        };
        ensure!(wave == expected, "{kind} is of wave {wave}, not {expected}");
        if kind == "CustomResourceDefinition" {
            let options = text(&notes["argocd.argoproj.io/sync-options"]);
            ensure!(options.contains("Prune=false") && options.contains("Delete=false"));
            ensure!(notes["helm.sh/resource-policy"] == "keep");
        }
    }
    Ok(())
}
