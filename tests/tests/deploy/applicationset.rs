//! The ApplicationSet for one cluster of each type, expanded as Argo CD does it: the generators' parameters come from the
//! cluster's secret and from the folders that are there, and go into the template.
//!
//! Of Go's templates only `{{ .a.b }}` is understood here. Whatever else the ApplicationSet comes to use fails, and so
//! does a parameter that is not there, as with `missingkey=error`.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tests::test_dir::TestDir;

use super::charts::rendered;
use super::project::{keeps_itself, permits};
use super::server::{accepted, client};
use super::{CLUSTER, documents, helm, output, root, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_each_type_gets_the_application_of_its_folder_and_the_values_of_its_region()
-> Result<()> {
    let test_dir = TestDir::new("deploy-applicationset")?;
    let client = client().await?;
    copied(&test_dir)?;
    let folder = "deploy/argocd/config/regional-cluster/maestro-server";
    let authorities = test_dir.path().join(folder).join("global-bundle.pem");
    std::fs::write(authorities, "-----BEGIN CERTIFICATE-----\n")?;
    for (cluster, file, expected) in [
        (None, "regional-cluster", "regional-x8k2-maestro-server"),
        (Some(CLUSTER), CLUSTER, "management-01-maestro-agent"),
    ] {
        let secret = output(test_dir.path(), "argocd-cluster", cluster).await?;
        let region = text(&secret["metadata"]["annotations"]["aws_region"]);
        let folder = test_dir.dir(&format!("values/deploy/development/{region}"))?;
        let values = output(test_dir.path(), "argocd-values", cluster).await?;
        let file = folder.join(format!("argocd-values-{file}.yaml"));
        std::fs::write(file, values.to_string())?;

        let [application] = &expanded(&secret)?[..] else {
            bail!("not one Application of {secret}")
        };
        ensure!(application["metadata"]["name"] == expected, "{application}");
        accepted(&client, std::slice::from_ref(application)).await?;
        keeps_itself(application)?;
        let made = of(&test_dir, application).await?;
        accepted(&client, &made).await?;
        permits(application, &made)?;
        let made = Value::from(made).to_string();
        // From the region's file of values, and from `global.aws_region`.
        let said = match cluster {
            None => [
                "--client-id=regional-x8k2-maestro-server",
                "us-east-2",
                "-----BEGIN CERTIFICATE-----",
            ],
            Some(_) => ["--cloudevents-client-id=other", "us-west-2", "Prune=false"],
        };
        for said in said {
            ensure!(made.contains(said), "{said}: {made}");
        }
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_without_a_file_of_values_get_what_their_labels_and_annotations_say() -> Result<()>
{
    let test_dir = TestDir::new("deploy-applicationset-bare")?;
    let client = client().await?;
    copied(&test_dir)?;
    for cluster in [None, Some(CLUSTER)] {
        let mut secret = output(test_dir.path(), "argocd-cluster", cluster).await?;
        secret["metadata"]["annotations"]["aws_region"] = "eu-north-1".into();
        let application = &expanded(&secret)?[0];
        let made = of(&test_dir, application).await?;
        accepted(&client, &made).await?;
        let class = made.iter().find(|it| it["kind"] == "SecretProviderClass");
        let class = class.context("it reads its secrets")?;
        ensure!(class["spec"]["parameters"]["region"] == "eu-north-1");
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_lacks_an_annotation_or_is_of_no_type_gets_no_application() -> Result<()> {
    let test_dir = TestDir::new("deploy-applicationset-lacks")?;
    let secret = output(test_dir.path(), "argocd-cluster", Some(CLUSTER)).await?;
    let mut lacks = secret.clone();
    let notes = lacks["metadata"]["annotations"].as_object_mut();
    notes.context("it has annotations")?.remove("aws_region");
    // No error either, which would keep the Applications of all clusters from being made.
    ensure!(expanded(&lacks)?.is_empty());
    let mut lacks = secret.clone();
    let labels = lacks["metadata"]["labels"].as_object_mut();
    labels.context("it has labels")?.remove("environment");
    ensure!(expanded(&lacks)?.is_empty());
    let mut other = secret;
    other["metadata"]["labels"]["cluster_type"] = "toaster".into();
    ensure!(expanded(&other)?.is_empty());
    test_dir.passed();
    Ok(())
}

/// The Applications that the ApplicationSet makes for a cluster with this secret.
fn expanded(secret: &Value) -> Result<Vec<Value>> {
    let file = root().join("deploy/argocd/applicationset.yaml");
    let set = documents(&std::fs::read_to_string(file)?)?.remove(0);
    let spec = &set["spec"];
    ensure!(spec["goTemplate"] == true && spec["goTemplateOptions"] == json!(["missingkey=error"]));
    let generators = &spec["generators"][0]["matrix"]["generators"];
    let (clusters, git) = (&generators[0]["clusters"], &generators[1]["git"]);
    if !selected(&clusters["selector"], &secret["metadata"]["labels"])? {
        return Ok(Vec::new());
    }
    let notes = secret["metadata"]["annotations"].as_object();
    let notes = notes.context("it has annotations")?.iter();
    let flat = notes.map(|(key, value)| (format!("metadata.annotations.{key}"), value.clone()));
    let flat = Value::Object(flat.collect());
    if !selected(&spec["generators"][0]["selector"], &flat)? {
        return Ok(Vec::new());
    }
    let mut parameters = json!({
        "name": "in-cluster",
        "server": "https://kubernetes.default.svc",
        "metadata": secret["metadata"],
    });
    let mut applications = Vec::new();
    for directory in git["directories"].as_array().into_iter().flatten() {
        let path = filled(&directory["path"], &parameters)?;
        let parent = text(&path).strip_suffix("/*").context("ends in `/*`")?;
        let entries = std::fs::read_dir(root().join(parent))?;
        for entry in entries {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            parameters["path"] = json!({"path": format!("{parent}/{name}"), "basename": name});
            let mut application = filled(&spec["template"], &parameters)?;
            application["apiVersion"] = "argoproj.io/v1alpha1".into();
            application["kind"] = "Application".into();
            application["metadata"]["namespace"] = set["metadata"]["namespace"].clone();
            applications.push(application);
        }
    }
    Ok(applications)
}

/// What such an Application makes. Its chart was copied, so that its dependency can be put beside it.
async fn of(test_dir: &TestDir, application: &Value) -> Result<Vec<Value>> {
    let (source, values) = (
        &application["spec"]["sources"][0],
        &application["spec"]["sources"][1],
    );
    ensure!(values["ref"] == "values" && source["helm"]["ignoreMissingValueFiles"] == true);
    let chart = test_dir.path().join(text(&source["path"]));
    let build = ["dependency", "build", &chart.display().to_string()];
    helm(test_dir.path(), &build).await?;
    let mut files = Vec::new();
    for file in source["helm"]["valueFiles"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let path = match text(file).strip_prefix("$values/") {
            Some(path) => test_dir.path().join("values").join(path),
            None => chart.join(text(file)),
        };
        if path.is_file() {
            files.push(path.display().to_string());
        }
    }
    rendered(
        test_dir.path(),
        &chart,
        text(&source["helm"]["releaseName"]),
        text(&application["spec"]["destination"]["namespace"]),
        &files,
        &source["helm"]["valuesObject"],
    )
    .await
}

fn selected(selector: &Value, labels: &Value) -> Result<bool> {
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    let mut all = wanted.into_iter().all(|(key, value)| labels[key] == *value);
    for it in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let label = labels.get(text(&it["key"]));
        all &= match text(&it["operator"]) {
            "In" => {
                let values = it["values"].as_array().context("it has values")?;
                label.is_some_and(|label| values.contains(label))
            }
            "Exists" => label.is_some(),
            _ => bail!("{it}"),
        };
    }
    Ok(all)
}

/// Every text in it with its parameters.
fn filled(template: &Value, parameters: &Value) -> Result<Value> {
    Ok(match template {
        Value::String(text) => Value::String(replaced(text, parameters)?),
        Value::Array(items) => items
            .iter()
            .map(|item| filled(item, parameters))
            .collect::<Result<_>>()?,
        Value::Object(pairs) => pairs
            .iter()
            .map(|(key, value)| Ok((key.clone(), filled(value, parameters)?)))
            .collect::<Result<_>>()?,
        other => other.clone(),
    })
}

fn replaced(text: &str, parameters: &Value) -> Result<String> {
    let mut parts = text.split("{{");
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").context("a `{{` without `}}`")?;
        let path = expression.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
        ensure!(
            path.starts_with('.') && path.chars().all(plain),
            "`{path}` is more than a parameter"
        );
        let found = parameters.pointer(&path.replace('.', "/"));
        let found = found.and_then(Value::as_str);
        done.push_str(found.with_context(|| format!("there is no `{path}`"))?);
        done.push_str(rest);
    }
    Ok(done)
}

/// `deploy/` where helm may write.
fn copied(test_dir: &TestDir) -> Result<()> {
    copy(&root().join("deploy"), &test_dir.path().join("deploy"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
