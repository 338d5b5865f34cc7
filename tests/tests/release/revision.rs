//! What an image is called is what its program says it is: name, release and commit.

use std::path::Path;

use anyhow::{Result, ensure};
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

use crate::archive::{Image, binaries, text};
use crate::{COMMIT, PATIENCE, label, script, spec};

const REVISION: &str = "org.opencontainers.image.revision";

#[tokio::test]
async fn only_a_program_that_says_its_commit_gets_the_label_of_it() -> Result<()> {
    let test_dir = TestDir::new("revision-label")?;
    // The programs of the tests know of no commit.
    let image = Image::of_probe("without", &binaries()?, test_dir.path()).await?;
    let manifest = image.manifest()?;
    ensure!(
        manifest["annotations"].get(REVISION).is_none(),
        "{manifest}"
    );

    let told = test_dir.dir("told")?;
    says(&told, &format!("{}, 2026-11-29", &COMMIT[..12])).await?;
    let image = Image::of_probe("with", &told, test_dir.path()).await?;
    let manifest = image.manifest()?;
    ensure!(manifest["annotations"][REVISION] == COMMIT, "{manifest}");
    let config = image.blob(&manifest["config"])?;
    ensure!(config["config"]["Labels"][REVISION] == COMMIT, "{config}");

    let other = test_dir.dir("other")?;
    says(&other, "ba9876543210, 2026-11-28").await?;
    let image = Image::of_probe("other-image", &other, test_dir.path()).await?;
    let manifest = image.manifest()?;
    ensure!(
        manifest["annotations"].get(REVISION).is_none(),
        "{manifest}"
    );
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_program_of_another_name_gets_into_no_image() -> Result<()> {
    let test_dir = TestDir::new("revision-name")?;
    let (renamed, out) = (test_dir.dir("renamed")?, test_dir.path().join("out"));
    std::fs::copy(binaries()?.join("probe"), renamed.join("agent"))?;
    let arguments = [
        "--unpinned",
        "--binaries",
        text(&renamed)?,
        "--out",
        text(&out)?,
        "agent",
    ];
    let refused = script("deploy/images/build", &arguments, test_dir.path()).await?;
    let version = env!("CARGO_PKG_VERSION");
    let told = format!("says that it is `probe {version} (dev)`, not agent {version}");
    ensure!(refused.status.code() == Some(1), "{}", refused.stderr);
    ensure!(refused.stderr.contains(&told), "{}", refused.stderr);
    ensure!(!out.join("agent.tar").exists(), "an archive was left");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_told_in_words_and_leaves_nothing() -> Result<()> {
    let test_dir = TestDir::new("revision-words")?;
    let (out, binaries) = (test_dir.path().join("out"), binaries()?);
    let arguments = |out| {
        Ok::<_, anyhow::Error>([
            "--unpinned",
            "--binaries",
            text(&binaries)?,
            "--out",
            out,
            "probe",
        ])
    };
    let refused = spec("deploy/images/build")
        .env("SOURCE_DATE_EPOCH", "yesterday")
        .args(arguments(text(&out)?)?)
        .run(test_dir.path(), PATIENCE)
        .await?;
    ensure!(refused.status.code() == Some(1), "{}", refused.stderr);
    ensure!(
        refused
            .stderr
            .contains("$SOURCE_DATE_EPOCH is `yesterday`, which is no time"),
        "{}",
        refused.stderr
    );
    ensure!(!out.exists(), "something was written");

    // A directory lies where the archive has to be.
    std::fs::create_dir_all(out.join("probe.tar/inside"))?;
    let refused = script(
        "deploy/images/build",
        &arguments(text(&out)?)?,
        test_dir.path(),
    )
    .await?;
    ensure!(refused.status.code() == Some(1), "{}", refused.stderr);
    ensure!(
        refused.stderr.contains("probe.tar: ") && !refused.stderr.contains("Traceback"),
        "{}",
        refused.stderr
    );
    let left: Vec<_> = std::fs::read_dir(&out)?.flatten().collect();
    ensure!(left.len() == 1, "{left:?}");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn the_list_of_digests_says_which_zlib_they_depend_on() -> Result<()> {
    let test_dir = TestDir::new("revision-zlib")?;
    let image = Image::of_probe("image", &binaries()?, test_dir.path()).await?;
    let listed = std::fs::read_to_string(test_dir.path().join("image/digests"))?;
    let words: Vec<_> = listed.split_whitespace().collect();
    let [name, digest, bytes, zlib] = words[..] else {
        anyhow::bail!("{listed}");
    };
    ensure!(name == "probe" && digest == image.digest, "{listed}");
    ensure!(
        bytes.parse::<u64>().is_ok() && zlib.starts_with("zlib-"),
        "{listed}"
    );
    test_dir.passed();
    Ok(())
}

/// Puts a program there that says it is `probe` of a certain build.
async fn says(directory: &Path, build: &str) -> Result<()> {
    let source = directory.join("probe.c");
    let version = env!("CARGO_PKG_VERSION");
    let program = format!(
        "#include <stdio.h>\nint main(void) {{ return puts(\"probe {version} ({build})\") < 0; }}\n"
    );
    std::fs::write(&source, program)?;
    let compiled = ProcessSpec::installed("cc", "install gcc and libc6-dev")?
        .label(label())
        .arg("-o")
        .args([&directory.join("probe"), &source])
        .run(directory, PATIENCE)
        .await?;
    ensure!(compiled.status.success(), "{}", compiled.stderr);
    Ok(())
}
