//! `probe doctor --static` on what `provisioner` writes: the file, values for both charts, and what was changed by hand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;
use link::fault::FindingsReport;
use probe::args::{Args, Verb};
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

use crate::bed::{assert_faults, told};

async fn provisioner(dir: &TestDir, words: &[&str]) -> Result<String> {
    let spec = ProcessSpec::binary("provisioner")?.args(words.iter().copied());
    // A directory of its own each time: what a program prints is appended to what an earlier one of its name printed.
    let logs = tempfile::tempdir_in(dir.path())?;
    let output = spec.run(logs.path(), PATIENCE).await?;
    ensure!(output.status.success(), "{words:?}: {}", output.stderr);
    Ok(output.stdout)
}

async fn look(files: &[&Path]) -> Result<FindingsReport> {
    let mut words = vec!["probe", "doctor", "--quiet"];
    for file in files {
        words.extend(["--static", file.to_str().context("a path of UTF-8")?]);
    }
    let Verb::Doctor(args) = Args::try_parse_from(words)?.command else {
        bail!("not the doctor");
    };
    let report = probe::doctor::report(&args).await;
    report.map_err(|failure| anyhow::anyhow!("{failure:?}"))
}

fn put(dir: &TestDir, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.path().join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

#[tokio::test]
async fn what_the_provisioner_writes_is_healthy_until_it_is_changed_by_hand() -> Result<()> {
    let dir = TestDir::new("doctor-static")?;
    for more in [
        "",
        "server: {store: sqlite, connections: 2}\n",
        "server: {replicas: 3, slots: 12, lifecycleEvents: true}\ntopics: {scheme: sources}\n",
        "server: {source: east, clientId: bridge}\nagent: {serviceAccount: a}\ndatabase: {iamAuth: true}\n",
        "names: {agentCertificate: a/cert, serverConfig: s/config}\nprofile: production\n",
    ] {
        let region = put(&dir, "region.yaml", &format!("{REGION}{more}"))?;
        let file = region.to_str().context("a path of UTF-8")?;
        let values = ["outputs", "--file", file, "--format", "helm"];
        let server = put(&dir, "server.yaml", &provisioner(&dir, &values).await?)?;
        let mut files = vec![region.clone(), server.clone()];
        for cluster in ["management-01", "management-02"] {
            let values = [&values[..], &["--cluster", cluster]].concat();
            let values = provisioner(&dir, &values).await?;
            files.push(put(&dir, &format!("{cluster}.yaml"), &values)?);
        }
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        assert_faults(&look(&files).await?, &[]);

        let text = std::fs::read_to_string(&server)?;
        std::fs::write(&server, text.replacen("clientId: ", "clientId: other-", 1))?;
        let report = look(&files).await?;
        assert_faults(&report, &[805]);
        ensure!(told(&report, 805).contains("server.clientId"), "{report:?}");
    }
    dir.passed();
    Ok(())
}

const REGION: &str = r#"
name: regional-x8k2
region: us-east-2
account: "111111111111"
network:
  vpc: vpc-0123456789abcdef0
  privateSubnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
eks:
  cluster: regional-x8k2
  securityGroups: [sg-0123456789abcdef0]
managementClusters:
  - {id: management-01, account: "222222222222"}
  - {id: management-02, account: "333333333333", region: us-west-2, agentClientId: other}
"#;

const PATIENCE: Duration = Duration::from_secs(30);
