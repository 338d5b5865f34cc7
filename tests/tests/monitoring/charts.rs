//! The charts' rules and dashboards, as files and as helm renders them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::process::ProcessSpec;

/// The charts.
pub(crate) const CHARTS: [&str; 2] = ["agent", "server-bridge"];

/// The file with the rules of a chart.
pub(crate) fn rules_file(chart: &str) -> PathBuf {
    let charts = root().join("deploy/charts");
    charts.join(format!("{chart}/files/rules/{chart}.yaml"))
}

/// The rules of a chart.
pub(crate) fn rules(chart: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(rules_file(chart))?;
    let file: Value = serde_saphyr::from_str(&text)?;
    Ok(list(&file["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]).clone())
        .collect())
}

/// The dashboards of all charts, by the names of their files.
pub(crate) fn dashboards() -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for chart in CHARTS {
        let directory = root().join(format!("deploy/charts/{chart}/files/dashboards"));
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let text = std::fs::read_to_string(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let dashboard = serde_json::from_str(&text);
            found.push((name.into_owned(), dashboard.context("parse a dashboard")?));
        }
    }
    Ok(found)
}

/// The panels of a dashboard that show something.
pub(crate) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = list(&dashboard["panels"]).iter();
    panels.filter(|panel| panel["type"] != "row")
}

/// The queries of a panel, as Grafana would send them with all variables at all.
pub(crate) fn queries(panel: &Value, component: &str) -> Vec<String> {
    let expressions = list(&panel["targets"]).iter().map(|target| &target["expr"]);
    expressions
        .map(|expression| filled(expression.as_str().unwrap_or_default(), component))
        .collect()
}

/// What the variables of a dashboard are chosen from, as Grafana would ask for it.
pub(crate) fn variables(dashboard: &Value, component: &str) -> Vec<String> {
    let variables = list(&dashboard["templating"]["list"]).iter();
    let asked = variables.filter_map(|variable| variable["query"]["query"].as_str());
    let series = asked.filter_map(|query| query.strip_prefix("label_values(")?.rsplit_once(','));
    series
        .map(|(series, _)| filled(series, component))
        .collect()
}

fn filled(query: &str, component: &str) -> String {
    query
        .replace("$__rate_interval", "20s")
        .replace("$component", component)
        .replace("$namespace", ".*")
        .replace("$pod", ".*")
}

/// What a chart renders with rules and dashboards switched on.
pub(crate) async fn rendered(
    chart: &str,
    release: &str,
    namespace: &str,
    logs: &Path,
) -> Result<Vec<Value>> {
    let fetched = ProcessSpec::at("fetch", root().join("tests/helm/fetch"), REMEDY)
        .label(format!("fetch-helm-{chart}-{namespace}"))
        .arg("helm")
        .run(logs, PATIENCE)
        .await?;
    ensure!(fetched.status.success(), "{}", fetched.stderr);
    let chart_directory = root().join("deploy/charts").join(chart);
    let output = ProcessSpec::at("helm", fetched.stdout.trim().into(), REMEDY)
        .label(format!("helm-{chart}-{namespace}"))
        .args(["template", release])
        .arg(chart_directory)
        .args(["--namespace", namespace])
        .args(["--set", REGION])
        .args(["--set", "metrics.rules.enabled=true"])
        .args(["--set", "metrics.rules.labels.release=monitoring"])
        .args(["--set", &format!("metrics.rules.runbookBase={BASE}")])
        .args(["--set", "metrics.dashboards.enabled=true"])
        .args(["--show-only", "templates/prometheusrule.yaml"])
        .args(["--show-only", "templates/dashboards.yaml"])
        .run(logs, PATIENCE)
        .await?;
    ensure!(output.status.success(), "helm {chart}: {}", output.stderr);
    let objects = output.stdout.split("\n---\n");
    let objects = objects.map(|text| text.trim_start_matches("---\n"));
    let parsed = objects.filter(|text| !text.trim().is_empty());
    parsed
        .map(|text| serde_saphyr::from_str(text).with_context(|| text.to_owned()))
        .collect()
}

/// A list, or an empty one.
pub(crate) fn list(value: &Value) -> &Vec<Value> {
    static EMPTY: Vec<Value> = Vec::new();
    value.as_array().unwrap_or(&EMPTY)
}

pub(crate) fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_path_buf()
}

/// Where the pages are in what is rendered here.
pub(crate) const BASE: &str = "https://pages.example/";

// What both charts need to be rendered at all.
const REGION: &str = "secrets.region=eu-west-1";
const REMEDY: &str = "run `tests/helm/fetch`";
const PATIENCE: Duration = Duration::from_secs(120);
