//! `deploy/release`: all that a release consists of, with sums, and nothing that could not be made again.

use anyhow::{Result, ensure};
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

use crate::archive::{binaries, tar, text};
use crate::{PATIENCE, label, script};

#[tokio::test]
async fn a_release_is_whole_and_its_sums_are_right() -> Result<()> {
    let test_dir = TestDir::new("release-whole")?;
    let out = test_dir.path().join("out");
    let arguments = [
        "--allow-dirty",
        "--binaries",
        text(&binaries()?)?,
        "--out",
        text(&out)?,
        "probe",
    ]
    .map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let made = script("deploy/release", &arguments, test_dir.path()).await?;
    ensure!(made.status.success(), "{}", made.stderr);

    let version = env!("CARGO_PKG_VERSION");
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let programs = format!("programs-{version}-linux-{architecture}.tar.gz");
    let mut expected = vec![
        format!("charts/agent-{version}.tgz"),
        format!("charts/server-bridge-{version}.tgz"),
        "images/digests".to_owned(),
        "images/probe.cdx.json".to_owned(),
        "images/probe.tar".to_owned(),
        programs.clone(),
    ];
    expected.sort();
    let sums = std::fs::read_to_string(out.join("SHA256SUMS"))?;
    let listed: Vec<_> = sums
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    ensure!(listed == expected, "{sums}");
    for path in &expected {
        ensure!(
            made.stdout.contains(path.as_str()),
            "{path} is not listed: {}",
            made.stdout
        );
    }
    let check = "cd \"$0\" && sha256sum --quiet --check SHA256SUMS";
    let checked = ProcessSpec::installed("sh", "install a shell")?
        .label(label())
        .args(["-c", check, text(&out)?])
        .run(test_dir.path(), PATIENCE)
        .await?;
    ensure!(checked.status.success(), "{}", checked.stdout);

    let content = tar(&["-tzf", text(&out.join(programs))?], test_dir.path()).await?;
    for path in [
        "bin/probe",
        "share/man/man1/probe.1",
        "share/man/man1/probe-check.1",
        "share/bash-completion/completions/probe",
        "share/zsh/site-functions/_probe",
        "share/fish/vendor_completions.d/probe.fish",
        "share/doc/probe/LICENSE",
        "share/doc/probe/THIRD-PARTY-NOTICES",
    ] {
        ensure!(
            content.lines().any(|line| line == path),
            "no {path} in\n{content}"
        );
    }

    // What lies there already is of another release.
    let again = script("deploy/release", &arguments, test_dir.path()).await?;
    ensure!(
        again.status.code() == Some(1) && again.stderr.contains("is not empty"),
        "{}",
        again.stderr
    );
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn what_nobody_could_make_again_is_no_release() -> Result<()> {
    let test_dir = TestDir::new("release-refused")?;
    let out = test_dir.path().join("out");
    // The programs of the tests know of no commit, whether the tree has changes or not.
    let arguments = [
        "--binaries",
        text(&binaries()?)?,
        "--out",
        text(&out)?,
        "probe",
    ]
    .map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let refused = script("deploy/release", &arguments, test_dir.path()).await?;
    ensure!(refused.status.code() == Some(1), "{}", refused.stderr);
    let told = refused.stderr.contains("the tree has changes")
        || refused.stderr.contains("not of commit 0123456789ab");
    ensure!(
        told && refused.stderr.contains("hint: "),
        "{}",
        refused.stderr
    );
    ensure!(!out.exists(), "something was written");
    test_dir.passed();
    Ok(())
}
