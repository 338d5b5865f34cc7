//! What an image is called is what its program says it is: name, release and commit.

use std::path::Path;

use anyhow::{Result, ensure};
use tests::process::Spec;
use tests::scratch::Scratch;

use crate::archive::{Image, binaries, text};
use crate::{COMMIT, PATIENCE, label, script, spec};

const REVISION: &str = "org.opencontainers.image.revision";

#[tokio::test]
async fn only_a_program_that_says_its_commit_gets_the_label_of_it() -> Result<()> {
    let scratch = Scratch::new("revision-label")?;
    // The programs of the tests know of no commit.
    let image = Image::of_probe("without", &binaries()?, scratch.path()).await?;
    let manifest = image.manifest()?;
    ensure!(
        manifest["annotations"].get(REVISION).is_none(),
        "{manifest}"
    );

    let told = scratch.dir("told")?;
    says(&told, &format!("{}, 2026-11-29", &COMMIT[..12])).await?;
    let image = Image::of_probe("with", &told, scratch.path()).await?;
    let manifest = image.manifest()?;
    ensure!(manifest["annotations"][REVISION] == COMMIT, "{manifest}");
    let config = image.blob(&manifest["config"])?;
    ensure!(config["config"]["Labels"][REVISION] == COMMIT, "{config}");

    let other = scratch.dir("other")?;
    says(&other, "ba9876543210, 2026-11-28").await?;
    let image = Image::of_probe("other-image", &other, scratch.path()).await?;
    let manifest = image.manifest()?;
    ensure!(
        manifest["annotations"].get(REVISION).is_none(),
        "{manifest}"
    );
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn a_program_of_another_name_gets_into_no_image() -> Result<()> {
    let scratch = Scratch::new("revision-name")?;
    let (renamed, out) = (scratch.dir("renamed")?, scratch.path().join("out"));
    std::fs::copy(binaries()?.join("probe"), renamed.join("agent"))?;
    let arguments = [
        "--unpinned",
        "--binaries",
        text(&renamed)?,
        "--out",
        text(&out)?,
        "agent",
    ];
    let refused = script("deploy/images/build", &arguments, scratch.path()).await?;
    let version = env!("CARGO_PKG_VERSION");
    let told = format!("says that it is `probe {version} (dev)`, not agent {version}");
    ensure!(refused.status.code() == Some(1), "{}", refused.stderr);
    ensure!(refused.stderr.contains(&told), "{}", refused.stderr);
    ensure!(!out.join("agent.tar").exists(), "an archive was left");
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_told_in_words_and_leaves_nothing() -> Result<()> {
    let scratch = Scratch::new("revision-words")?;
    let (out, binaries) = (scratch.path().join("out"), binaries()?);
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
        .run(scratch.path(), PATIENCE)
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
        scratch.path(),
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
    scratch.passed();
    Ok(())
}

#[tokio::test]
async fn the_list_of_digests_says_which_zlib_they_depend_on() -> Result<()> {
    let scratch = Scratch::new("revision-zlib")?;
    let image = Image::of_probe("image", &binaries()?, scratch.path()).await?;
    let listed = std::fs::read_to_string(scratch.path().join("image/digests"))?;
    let words: Vec<_> = listed.split_whitespace().collect();
    let [name, digest, bytes, zlib] = words[..] else {
        anyhow::bail!("{listed}");
    };
    ensure!(name == "probe" && digest == image.digest, "{listed}");
    ensure!(
        bytes.parse::<u64>().is_ok() && zlib.starts_with("zlib-"),
        "{listed}"
    );
    scratch.passed();
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
    let compiled = Spec::installed("cc", "install gcc and libc6-dev")?
        .label(label())
        .arg("-o")
        .args([&directory.join("probe"), &source])
        .run(directory, PATIENCE)
        .await?;
    ensure!(compiled.status.success(), "{}", compiled.stderr);
    Ok(())
}
