//! The Applications of the first deployment's form, and that a typing error in any object is refused.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tests::test_dir::TestDir;

use super::charts::{chart, rendered};
use super::project::{keeps_itself, permits};
use super::server::{accepted, client};
use super::{documents, root, text};

#[tokio::test(flavor = "multi_thread")]
async fn every_object_of_the_folder_is_taken_strictly() -> Result<()> {
    let client = client().await?;
    let objects = folder(&root().join("deploy/argocd"))?;
    let mut kinds: Vec<_> = objects.iter().map(|object| text(&object["kind"])).collect();
    kinds.sort_unstable();
    ensure!(
        kinds == ["AppProject", "Application", "Application", "ApplicationSet"],
        "{kinds:?}"
    );
    accepted(&client, &objects).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_take_the_values_of_the_applications_and_the_server_what_they_render()
-> Result<()> {
    let test_dir = TestDir::new("deploy-applications")?;
    let client = client().await?;
    let objects = folder(&root().join("deploy/argocd"))?;
    let applications = objects.iter().filter(|it| it["kind"] == "Application");
    for application in applications {
        let made = of(test_dir.path(), application).await?;
        accepted(&client, &made).await?;
        keeps_itself(application)?;
        permits(application, &made)?;
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_field_is_refused_by_its_name_in_every_foreign_kind() -> Result<()> {
    let client = client().await?;
    let mut objects = folder(&root().join("deploy/argocd"))?;
    for golden in ["agent/everything", "agent/external-store", "agent/minimal"] {
        let file = root().join(format!("tests/golden/charts/{golden}.yaml"));
        objects.extend(documents(&std::fs::read_to_string(file)?)?);
    }
    objects.push(json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
        "metadata": {"name": "x", "namespace": "default"},
        "spec": {"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "up == 0", "for": "5m"}]}]},
    }));
    for (kind, at, field) in [
        ("AppProject", "/spec/destinations/0", "namespace"),
        ("Application", "/spec/source/helm", "valuesObject"),
        (
            "ApplicationSet",
            "/spec/template/spec/syncPolicy/automated",
            "selfHeal",
        ),
        (
            "ApplicationSet",
            "/spec/generators/0/matrix/generators/1/git",
            "directories",
        ),
        ("SecretProviderClass", "/spec", "parameters"),
        ("ExternalSecret", "/spec/target", "creationPolicy"),
        ("PrometheusRule", "/spec/groups/0/rules/0", "for"),
    ] {
        let object = objects.iter().find(|object| object["kind"] == kind);
        let mut object = object
            .with_context(|| format!("there is a {kind}"))?
            .clone();
        let place = object.pointer_mut(at).and_then(Value::as_object_mut);
        let place = place.with_context(|| format!("{kind} has {at}"))?;
        let value = place.remove(field).context(field)?;
        let wrong = format!("{field}x");
        place.insert(wrong.clone(), value);
        let Err(error) = accepted(&client, &[object]).await else {
            bail!("{kind} is taken with `{wrong}`")
        };
        let said = format!("{error:#}");
        ensure!(said.contains(&wrong), "{said}");
    }
    Ok(())
}

/// What an Application of one source makes.
pub(super) async fn of(logs: &Path, application: &Value) -> Result<Vec<Value>> {
    let spec = &application["spec"];
    let source = &spec["source"];
    let release = text(&source["helm"]["releaseName"]);
    let namespace = text(&spec["destination"]["namespace"]);
    let values = &source["helm"]["valuesObject"];
    let chart = chart(&source["path"])?;
    let objects = rendered(logs, &chart, release, namespace, &[], values).await?;
    ensure!(objects.len() > 4, "{} objects", objects.len());
    Ok(objects)
}

/// The objects of a folder, without those that are parts of charts.
fn folder(path: &Path) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("config") {
            objects.extend(folder(&path)?);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            let read = documents(&std::fs::read_to_string(&path)?);
            objects.extend(read.with_context(|| path.display().to_string())?);
        }
    }
    Ok(objects)
}
