//! What has to be said in several places at a release is the same in all of them.

use anyhow::{Context as _, Result, ensure};

use crate::{PROGRAMS, root};

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("read {path}"))
}

/// What follows `start` on the first line that begins with it, without quotes.
fn said<'a>(text: &'a str, start: &str) -> Result<&'a str> {
    let found = text.lines().find_map(|line| line.strip_prefix(start));
    Ok(found
        .with_context(|| format!("no line with `{start}`"))?
        .trim()
        .trim_matches('"'))
}

#[test]
fn charts_dockerfile_and_changelog_are_of_the_programs_version() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    for chart in ["agent", "server-bridge"] {
        let text = read(&format!("deploy/charts/{chart}/Chart.yaml"))?;
        let told = said(&text, "appVersion:")?;
        ensure!(
            told == version,
            "the chart of {chart} is for {told}, not {version}"
        );
    }
    let dockerfile = read("deploy/images/Dockerfile")?;
    ensure!(said(&dockerfile, "ARG VERSION=")? == version);
    let changelog = read("CHANGELOG.md")?;
    let mut headings = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## ["));
    ensure!(
        headings.next() == Some("Unreleased]"),
        "changes of the next release have no place"
    );
    let newest = headings.next().unwrap_or_default();
    ensure!(
        newest.starts_with(&format!("{version}] - ")),
        "the newest release in CHANGELOG.md is {newest}"
    );
    Ok(())
}

#[test]
fn images_are_compiled_by_the_toolchain_of_the_repository() -> Result<()> {
    let toolchain = read("rust-toolchain.toml")?;
    let dockerfile = read("deploy/images/Dockerfile")?;
    ensure!(said(&dockerfile, "ARG RUST_VERSION=")? == said(&toolchain, "channel = ")?);
    Ok(())
}

#[test]
fn everything_is_under_the_licence_that_lies_there() -> Result<()> {
    ensure!(said(&read("Cargo.toml")?, "license = ")? == "Apache-2.0");
    let license = read("LICENSE")?;
    ensure!(license.contains("Apache License") && license.contains("Version 2.0, January 2004"));
    for member in PROGRAMS
        .iter()
        .chain(&["link", "region-file", "status-rules", "tests"])
    {
        let manifest = read(&format!("{member}/Cargo.toml"))?;
        ensure!(
            manifest.contains("\nlicense.workspace = true\n"),
            "{member}"
        );
    }
    ensure!(read("deploy/images/Dockerfile")?.contains("image.licenses=\"Apache-2.0\""));
    Ok(())
}

#[test]
fn a_base_package_is_pinned_for_both_processors() -> Result<()> {
    let lock = read("deploy/images/base.lock")?;
    let pins: Vec<Vec<&str>> = lock
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect())
        .filter(|words: &Vec<_>| words.len() != 2)
        .collect();
    for pin in &pins {
        ensure!(pin.len() == 5 && pin[4].len() == 64, "{pin:?}");
        let other = match pin[2] {
            "amd64" => "arm64",
            "arm64" => "amd64",
            all => all,
        };
        let both = pins.iter().any(|each| each[..3] == [pin[0], pin[1], other]);
        ensure!(both, "{pin:?} has no counterpart for {other}");
    }
    ensure!(pins.iter().any(|pin| pin[0] == "ca-certificates"));
    Ok(())
}
