//! Reviewed renders of both charts, byte for byte: `tests/golden/charts/CHART/NAME.values.yaml` makes `NAME.yaml`.
//! `UPDATE_GOLDEN=1 cargo test -p tests --test kubernetes chart::golden` writes them anew; read the difference, commit it.
//!
//! What must hold whatever the values are is asked of every one of them, so a new value set is checked by being there.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::kubernetes::Cluster;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

use super::server::SERVER;
use super::{AGENT, PATIENCE, accepted, helm, next, parsed, path, root};

mod rules;

#[tokio::test]
async fn every_set_of_values_renders_what_was_reviewed_and_passes_the_strict_lint() -> Result<()> {
    let test_dir = TestDir::new("chart-golden")?;
    let mut stale = Vec::new();
    for Golden {
        chart,
        name,
        values,
    } in goldens()?
    {
        let (source, file) = (path(chart), values.display().to_string());
        let lint = [
            "lint",
            "--strict",
            &source,
            "--values",
            &file,
            "--kube-version",
            VERSION,
        ];
        let lint = helm(test_dir.path(), &lint).await?;
        ensure!(
            lint.status.success(),
            "{chart} {name}: {}{}",
            lint.stdout,
            lint.stderr
        );
        let fresh = [
            "template",
            "maestro",
            &source,
            "--values",
            &file,
            "--namespace",
            SPACE,
        ];
        let fresh = [&fresh[..], &["--kube-version", VERSION]].concat();
        let fresh = helm(test_dir.path(), &fresh).await?;
        ensure!(fresh.status.success(), "{chart} {name}: {}", fresh.stderr);
        let reviewed = values.with_file_name(format!("{name}.yaml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&reviewed, &fresh.stdout)?;
        }
        if std::fs::read_to_string(&reviewed).unwrap_or_default() != fresh.stdout {
            stale.push(reviewed);
        }
    }
    ensure!(
        stale.is_empty(),
        "{stale:?} differ from what the charts render\nhint: run `UPDATE_GOLDEN=1 cargo test -p tests --test kubernetes \
         chart::golden`, read the difference, commit it"
    );
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn readmes_schemas_and_shared_templates_are_made_of_what_is_there() -> Result<()> {
    let test_dir = TestDir::new("chart-generated")?;
    let script = root().join("deploy/charts/generate");
    let spec = ProcessSpec::at("generate", script, "install python3").label(next("generate"));
    let output = spec.arg("--check").run(test_dir.path(), PATIENCE).await?;
    ensure!(output.status.success(), "{}", output.stderr);
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_every_object_of_every_set_of_values() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.namespace("chart-golden").await?;
    for golden in goldens()? {
        let mut objects = golden.objects()?;
        for object in &mut objects {
            let space = &mut object["metadata"]["namespace"];
            if *space == SPACE {
                *space = namespace.as_str().into();
            }
        }
        // It is in the namespace of another team.
        objects.retain(|object| object["metadata"]["namespace"] != "team");
        accepted(&client, &objects)
            .await
            .with_context(|| golden.to_string())?;
    }
    Ok(())
}

/// A set of values of a chart.
struct Golden {
    chart: &'static str,
    name: String,
    values: PathBuf,
}

// === impl Golden ===

impl Golden {
    fn objects(&self) -> Result<Vec<Value>> {
        let file = self.values.with_file_name(format!("{}.yaml", self.name));
        parsed(&std::fs::read_to_string(file)?)
    }

    /// Of workloads, checks and Jobs, as a pod would look.
    fn pods(&self, objects: &[Value]) -> Vec<Value> {
        let pods = objects.iter().filter_map(|object| match kind(object) {
            "Pod" => Some(object.clone()),
            "Deployment" | "StatefulSet" | "Job" => Some(object["spec"]["template"].clone()),
            _ => None,
        });
        pods.collect()
    }
}

impl std::fmt::Display for Golden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {}", self.chart, self.name)
    }
}

fn goldens() -> Result<Vec<Golden>> {
    let mut found = Vec::new();
    for chart in [AGENT, SERVER] {
        let directory = root().join("tests/golden/charts").join(chart);
        for entry in std::fs::read_dir(&directory)? {
            let values = entry?.path();
            let name = values
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if let Some(name) = name.strip_suffix(".values.yaml") {
                let name = name.to_owned();
                found.push(Golden {
                    chart,
                    name,
                    values,
                });
            }
        }
    }
    found.sort_by(|a, b| a.values.cmp(&b.values));
    ensure!(found.len() >= 10, "{} sets of values", found.len());
    Ok(found)
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// One field of every element.
fn names(list: &Value, field: &str) -> Vec<String> {
    let elements = list.as_array().into_iter().flatten();
    elements
        .filter_map(|element| text(&element[field]))
        .collect()
}

const SPACE: &str = "maestro-space";
// Where the version decides, as for a pause before a pod stops.
const VERSION: &str = "1.33.0";
