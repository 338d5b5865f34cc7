//! helm and kubectl against a node's cluster, with the rights of its administrator.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Node;
use crate::process::{Output, ProcessSpec};
use crate::test_dir::workspace;

impl Node {
    /// Runs helm, which must succeed, and gives what it printed.
    ///
    /// # Errors
    /// With all it said when it fails.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        succeeded("helm", args, self.try_helm(args).await?)
    }

    /// Runs helm, whatever comes of it.
    ///
    /// # Errors
    /// When it is not there or does not end in time.
    pub async fn try_helm(&self, args: &[&str]) -> Result<Output> {
        self.run("helm", args).await
    }

    /// Runs kubectl, which must succeed, and gives what it printed.
    ///
    /// # Errors
    /// With all it said when it fails.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        succeeded("kubectl", args, self.run("kubectl", args).await?)
    }

    /// Applies objects.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let file = self.test_dir.path().join(next("apply") + ".json");
        std::fs::write(&file, list.to_string())?;
        let file = file.display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &file])
            .await?;
        Ok(())
    }

    async fn run(&self, program: &str, args: &[&str]) -> Result<Output> {
        let logs = self.test_dir.dir("tools")?;
        let fetch = ProcessSpec::at("fetch", workspace().join("tests/helm/fetch"), REMEDY)
            .label(next("fetch"))
            .arg(program);
        let found = fetch.run(&logs, PATIENCE).await?;
        ensure!(found.status.success(), "{}", found.stderr);
        let spec = ProcessSpec::at(program, found.stdout.trim().into(), REMEDY)
            .label(next(program))
            .args(args)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("KUBECACHEDIR", logs.join("kubectl-cache"))
            .env("HELM_CACHE_HOME", logs.join("helm-cache"))
            .env("HELM_CONFIG_HOME", logs.join("helm-config"))
            .env("HELM_DATA_HOME", logs.join("helm-data"));
        let output = spec.run(&logs, PATIENCE).await;
        output.with_context(|| format!("{program} {}", args.join(" ")))
    }
}

fn succeeded(program: &str, args: &[&str], output: Output) -> Result<String> {
    let command = format!("{program} {}", args.join(" "));
    ensure!(
        output.status.success(),
        "`{command}`: {}\n{}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    Ok(output.stdout)
}

/// Each call has logs of its own, or it would show those of the calls before.
fn next(label: &str) -> String {
    static CALL: AtomicUsize = AtomicUsize::new(0);
    format!("{label}-{}", CALL.fetch_add(1, Ordering::Relaxed))
}

const PATIENCE: Duration = Duration::from_secs(180);
const REMEDY: &str = "run `tests/helm/fetch`";
