//! Releases of the agent's chart on a real API server: whatever becomes of a release, definitions and works stay, and what
//! somebody else brought is no obstacle.

use std::path::{Path, PathBuf};

use agent::crd::{AppliedManifestWork, AppliedManifestWorkSpec, ManifestWork, ManifestWorkSpec};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use tests::crds::served;
use tests::kubernetes::Cluster;
use tests::process::{Output, ProcessSpec};
use tests::test_dir::TestDir;
use tests::wait::wait_for;

use super::{AGENT, PATIENCE, REGION, path, root, tool};

mod foreign;
mod releases;
mod stores;
mod work;

/// A cluster of one's own, because definitions are everybody's.
struct ChartCluster {
    client: Client,
    cluster: Cluster,
    test_dir: TestDir,
}

/// What must still be there: definitions and works, by uid.
#[derive(Debug, PartialEq, Eq)]
struct Held(Vec<(String, String)>);

// === impl ChartCluster ===

impl ChartCluster {
    async fn open(test: &str) -> Result<Self> {
        let test_dir = TestDir::new(test)?;
        let cluster = Cluster::start(test_dir.path()).await?;
        let client = cluster.client().await?;
        let fixture = Self {
            client,
            cluster,
            test_dir,
        };
        fixture.define(&secret_provider_classes()).await?;
        Ok(fixture)
    }

    /// Runs helm with the cluster's kubeconfig in a namespace.
    async fn tried(&self, namespace: &str, arguments: &[&str]) -> Result<Output> {
        let all = [arguments, &["--namespace", namespace]].concat();
        let spec = tool(self.test_dir.path(), "helm").await?;
        self.started(spec.args(&all)).await
    }

    /// The same, which must succeed.
    async fn helm(&self, namespace: &str, arguments: &[&str]) -> Result<Output> {
        let output = self.tried(namespace, arguments).await?;
        ensure!(
            output.status.success(),
            "helm {arguments:?}: {}{}",
            output.stdout,
            output.stderr
        );
        Ok(output)
    }

    /// Installs or upgrades a release of the agent's chart, or of another one.
    async fn release(&self, verb: &str, name: &str, chart: &str, set: &[&str]) -> Result<Output> {
        let mut arguments = vec![verb, name, chart, "--create-namespace", "--set", REGION];
        if verb == "upgrade" {
            arguments.retain(|argument| *argument != "--create-namespace");
        }
        arguments.extend(set.iter().flat_map(|value| ["--set", *value]));
        self.helm(SPACE, &arguments).await
    }

    async fn started(&self, spec: ProcessSpec) -> Result<Output> {
        let home = self.test_dir.dir("helm")?;
        let spec = spec
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("REGISTRY", "localhost")
            .env("AWS_REGION", "eu-west-1")
            .env("HELM_CACHE_HOME", &home)
            .env("HELM_CONFIG_HOME", &home)
            .env("HELM_DATA_HOME", &home);
        Ok(spec.run(self.test_dir.path(), PATIENCE).await?)
    }

    /// The program in a shell, with `helm`, `kubectl` and `agent` on its path, in the root of the repository.
    async fn shell(&self, script: &str) -> Result<Output> {
        let bin = self.test_dir.dir("bin")?;
        for program in ["helm", "kubectl", "agent"] {
            let link = bin.join(program);
            if !link.exists() {
                std::os::unix::fs::symlink(executable(self.test_dir.path(), program).await?, link)?;
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let script = format!("set -euo pipefail\ncd '{}'\n{script}", root().display());
        let spec = ProcessSpec::at("shell", "/bin/bash".into(), "install bash")
            .label(super::next("shell"))
            .env("PATH", format!("{}:{path}", bin.display()))
            .args(["-c", &script]);
        let output = self.started(spec).await?;
        ensure!(
            output.status.success(),
            "{script}: {}{}",
            output.stdout,
            output.stderr
        );
        Ok(output)
    }

    fn definitions(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client.clone())
    }

    async fn define(&self, definition: &Value) -> Result<()> {
        let name = definition["metadata"]["name"].as_str().context("a name")?;
        let params = PatchParams::apply("somebody").force();
        let definitions = self.definitions();
        let defined = definitions
            .patch(name, &params, &Patch::Apply(definition))
            .await?;
        // helm asks only once which kinds there are.
        Ok(served(&self.client, &defined).await?)
    }

    /// A work and what it holds, as soon as both kinds are served.
    async fn works(&self) -> Result<Held> {
        let spaces: Api<Namespace> = Api::all(self.client.clone());
        let space = json!({"metadata": {"name": SPACE}});
        let space = serde_json::from_value(space)?;
        let made = spaces.create(&PostParams::default(), &space).await;
        ensure!(
            made.as_ref()
                .err()
                .is_none_or(|error| error.to_string().contains("exists")),
            "{made:?}"
        );
        wait_for("a work", PATIENCE, async || {
            let params = PatchParams::apply("somebody").force();
            let work = ManifestWork::new("w", ManifestWorkSpec::default());
            self.manifest_works()
                .patch("w", &params, &Patch::Apply(&work))
                .await?;
            let applied = AppliedManifestWork::new("w", AppliedManifestWorkSpec::default());
            let all: Api<AppliedManifestWork> = Api::all(self.client.clone());
            all.patch("w", &params, &Patch::Apply(&applied)).await
        })
        .await?;
        self.held().await
    }

    fn manifest_works(&self) -> Api<ManifestWork> {
        Api::namespaced(self.client.clone(), SPACE)
    }

    async fn held(&self) -> Result<Held> {
        let mut held = Vec::new();
        for name in DEFINITIONS {
            let found = self.definitions().get_opt(name).await?;
            let found = found.with_context(|| format!("definition {name} is there"))?;
            held.push(alive(&found.metadata, name)?);
        }
        let work = self.manifest_works().get("w").await?;
        held.push(alive(work.meta(), "work")?);
        let all: Api<AppliedManifestWork> = Api::all(self.client.clone());
        held.push(alive(all.get("w").await?.meta(), "applied work")?);
        Ok(Held(held))
    }

    /// As if nothing had ever been installed.
    async fn clear(&self) -> Result<()> {
        let listed = self.helm(SPACE, &["list", "--short"]).await?;
        for name in listed.stdout.split_whitespace() {
            self.helm(SPACE, &["uninstall", name]).await?;
        }
        for name in DEFINITIONS {
            let deleted = self
                .definitions()
                .delete(name, &DeleteParams::default())
                .await;
            drop(deleted);
        }
        wait_for("the definitions to be gone", PATIENCE, async || {
            let left = self.definitions().list(&ListParams::default()).await?;
            let mut left = left.items.iter().map(|definition| definition.name_any());
            ensure!(!left.any(|name| DEFINITIONS.contains(&name.as_str())));
            anyhow::Ok(())
        })
        .await?;
        Ok(())
    }

    /// A definition's annotation.
    async fn annotation(&self, definition: &str, name: &str) -> Result<Option<String>> {
        let found = self.definitions().get(definition).await?;
        Ok(found.annotations().get(name).cloned())
    }

    fn passed(self) {
        drop(self.cluster);
        self.test_dir.passed();
    }
}

fn alive(
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    what: &str,
) -> Result<(String, String)> {
    ensure!(
        metadata.deletion_timestamp.is_none(),
        "{what} is being deleted"
    );
    let uid = metadata.uid.clone().context("it has a uid")?;
    Ok((what.to_owned(), uid))
}

async fn executable(logs: &Path, program: &str) -> Result<PathBuf> {
    let spec = match program {
        "agent" => ProcessSpec::binary(program)?,
        _ => tool(logs, program).await?,
    };
    Ok(spec.command().get_program().into())
}

/// The chart with its definitions as templates that helm deletes, as an earlier version had them.
fn earlier_chart(fixture: &ChartCluster) -> Result<String> {
    let chart = fixture.test_dir.dir("earlier")?;
    copy(Path::new(&path(AGENT)), &chart)?;
    let templates = chart.join("templates");
    std::fs::remove_file(templates.join("NOTES.txt"))?;
    std::fs::write(
        templates.join("crds.yaml"),
        "{{- if .Values.installCRDs }}\n{{ .Files.Get \"files/crds.yaml\" }}\n{{- end }}\n",
    )?;
    Ok(chart.display().to_string())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The CSI driver's, as far as a chart needs it.
fn secret_provider_classes() -> Value {
    definition(
        "secrets-store.csi.x-k8s.io",
        "SecretProviderClass",
        "secretproviderclasses",
        "Namespaced",
        &json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    )
}

fn definition(group: &str, kind: &str, plural: &str, scope: &str, schema: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

const SPACE: &str = "maestro-agent";
const MANIFEST_WORKS: &str = "manifestworks.work.open-cluster-management.io";
const APPLIED: &str = "appliedmanifestworks.work.open-cluster-management.io";
const DEFINITIONS: [&str; 2] = [MANIFEST_WORKS, APPLIED];
