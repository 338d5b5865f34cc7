//! No password and no private key is in anything that a person, a pipeline or a log collector gets to see.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::testbed::Testbed;

use super::CLUSTER;

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_private_keys_are_in_no_output_log_error_or_file() -> Result {
    let testbed = Testbed::start("secrecy", &[CLUSTER]).await?;
    let endpoint = testbed.aws.endpoint();
    let region = &testbed.aws.account("region").id;
    let mut secrets = BTreeSet::new();

    // Errors of calls that carry a secret, and of the ones around them.
    for action in ["rds:CreateDBInstance", "secretsmanager:PutSecretValue"] {
        endpoint.deny("iam:SimulatePrincipalPolicy", region);
        endpoint.deny(action, region);
        traced(&testbed, &["apply", "--yes"], 1).await?;
        endpoint.allow(action, region);
        collect(&testbed, &mut secrets).await?;
    }
    let failure = "InvalidRequestException";
    endpoint.fail_once("secretsmanager:PutSecretValue", failure, 400);
    traced(&testbed, &["apply", "--yes"], 1).await?;
    traced(&testbed, &["apply", "--yes", "--json"], 0).await?;
    collect(&testbed, &mut secrets).await?;

    for args in [
        &["plan", "--json"][..],
        &["plan"],
        &["status", "--json"],
        &["status"],
        &["outputs"],
        &["outputs", "--format", "helm"],
        &["outputs", "--format", "helm", "--cluster", CLUSTER],
        &["outputs", "--format", "argocd"],
        &["outputs", "--format", "argocd-cluster"],
        &["outputs", "--format", "argocd-values"],
        &["outputs", "--format", "secret-provider-class"],
        &["enroll", CLUSTER, "--renew"],
        &["rotate", CLUSTER, "--insecure-without-proof"],
        &["rotate", "server", "--insecure-without-proof"],
        &["revoke", CLUSTER, "--yes", "--json"],
    ] {
        traced(&testbed, args, 0).await?;
        collect(&testbed, &mut secrets).await?;
    }
    traced(&testbed, &["enroll", "request", CLUSTER], 0).await?;
    collect(&testbed, &mut secrets).await?;
    traced(&testbed, &["enroll", CLUSTER], 0).await?;
    collect(&testbed, &mut secrets).await?;
    let nowhere = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), TRACE];
    let unreachable = testbed.run_with(&["plan"], &nowhere).await?;
    assert_eq!(unreachable.status.code(), Some(1), "{unreachable:?}");

    // The database's password and at least a key of each of two parties, line by line.
    assert!(secrets.len() > 6, "only {} secrets", secrets.len());
    let mut files = 0;
    for (path, text) in files_in(testbed.path())? {
        files += 1;
        for secret in &secrets {
            // The secret itself is not told here either.
            assert!(!text.contains(secret.as_str()), "{path} holds a secret");
        }
    }
    assert!(files > 30, "only {files} files");
    testbed.passed();
    Ok(())
}

/// Runs a command that logs all it can. What it says is in the testbed's directory.
async fn traced(testbed: &Testbed, args: &[&str], code: i32) -> Result {
    let output = testbed.run_with(args, &[TRACE]).await?;
    let ended = output.status.code();
    anyhow::ensure!(ended == Some(code), "{args:?} ended with {ended:?}");
    Ok(())
}

/// Everything secret that is in any version of any secret: passwords, and keys by the line, for a log may break them.
async fn collect(testbed: &Testbed, secrets: &mut BTreeSet<String>) -> Result {
    for (account, name) in [
        ("region", "maestro/db-credentials"),
        ("region", "maestro/server-cert"),
        (CLUSTER, "maestro/agent-cert"),
    ] {
        if testbed.aws.inventory(account).await?["secrets"][name].is_null() {
            continue;
        }
        for version in testbed.aws.secret_versions(account, name).await? {
            let texts = ["password", "privateKey"].map(|key| &version.value[key]);
            let lines = texts
                .into_iter()
                .filter_map(Value::as_str)
                .flat_map(str::lines);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("-----"));
            secrets.extend(lines.map(str::to_owned));
        }
    }
    Ok(())
}

/// Every file below a directory, with its text.
fn files_in(directory: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_in(&path)?);
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            files.push((path.display().to_string(), text));
        }
    }
    Ok(files)
}

const TRACE: (&str, &str) = ("LOG_LEVEL", "trace");
