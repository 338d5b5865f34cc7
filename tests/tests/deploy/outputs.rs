//! What `provisioner outputs` prints for Argo CD, and what it refuses.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::test_dir::TestDir;

use super::applications::of;
use super::project::{keeps_itself, permits};
use super::server::{accepted, client};
use super::{CLUSTER, output, provisioner};

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_of_a_region_are_taken_strictly_and_so_is_what_they_render() -> Result<()>
{
    let test_dir = TestDir::new("deploy-outputs")?;
    let client = client().await?;
    for cluster in [None, Some(CLUSTER)] {
        let application = output(test_dir.path(), "argocd", cluster).await?;
        accepted(&client, std::slice::from_ref(&application)).await?;
        keeps_itself(&application)?;
        let mut values = output(test_dir.path(), "helm", cluster).await?;
        if cluster.is_none() {
            // Clients of the first deployment have no tokens.
            values["callers"] = json!({"insecure": true});
        }
        ensure!(application["spec"]["source"]["helm"]["valuesObject"] == values);
        let made = of(test_dir.path(), &application).await?;
        accepted(&client, &made).await?;
        permits(&application, &made)?;
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_not_in_the_file_is_refused_by_its_name_in_every_format() -> Result<()> {
    let test_dir = TestDir::new("deploy-outputs-unknown")?;
    for format in [
        "json",
        "helm",
        "argocd",
        "argocd-cluster",
        "argocd-values",
        "secret-provider-class",
        "sql",
    ] {
        let arguments = ["outputs", "--format", format, "--cluster", "management-09"];
        let refused = provisioner(test_dir.path(), &arguments, 2).await?;
        ensure!(refused.stdout.is_empty(), "{format}: {refused:?}");
        ensure!(
            refused
                .stderr
                .contains("no management cluster `management-09`"),
            "{format}: {refused:?}"
        );
    }
    let sql = provisioner(test_dir.path(), &["outputs", "--format", "sql"], 0).await?;
    ensure!(
        sql.stdout.contains("CREATE ROLE \"maestro_iam\""),
        "{sql:?}"
    );
    let agent = ["outputs", "--format", "sql", "--cluster", CLUSTER];
    let refused = provisioner(test_dir.path(), &agent, 2).await?;
    ensure!(refused.stderr.contains("iamAuth: true"), "{refused:?}");
    test_dir.passed();
    Ok(())
}
