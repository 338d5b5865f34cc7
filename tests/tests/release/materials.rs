//! The bill of materials of an image: complete, and of nothing that is not in it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::test_dir::TestDir;

use crate::archive::{Image, binaries};
use crate::root;

#[tokio::test]
async fn the_bill_of_materials_names_crates_and_packages_of_the_image() -> Result<()> {
    let test_dir = TestDir::new("materials")?;
    let _image = Image::of_probe("image", &binaries()?, test_dir.path()).await?;
    let bill = std::fs::read_to_string(test_dir.path().join("image/probe.cdx.json"))?;
    let bill: Value = serde_json::from_str(&bill)?;
    ensure!(bill["bomFormat"] == "CycloneDX" && bill["specVersion"] == "1.6");
    ensure!(bill["metadata"]["component"]["name"] == "probe");

    let components = bill["components"].as_array().context("components")?;
    let named: BTreeSet<&str> = components
        .iter()
        .filter_map(|each| each["name"].as_str())
        .collect();
    for name in [
        "link",
        "rustls",
        "tokio",
        "aws-lc-sys",
        "libc6",
        "libgcc-s1",
        "ca-certificates",
        "base-files",
        // What no crate's version tells of.
        "aws-lc",
        "rust-std",
    ] {
        ensure!(named.contains(name), "no {name}");
    }
    // What compiles or tests it, and what other programs are made of.
    for name in [
        "insta",
        "proptest",
        "serde_derive",
        "cc",
        "sqlx",
        "kube",
        "aws-sdk-iot",
        "sqlite",
    ] {
        ensure!(!named.contains(name), "{name} is not in the image");
    }

    let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
    let mut known = BTreeSet::from([bill["metadata"]["component"]["bom-ref"]
        .as_str()
        .context("a reference")?]);
    for component in components {
        let text = |key: &str| {
            component[key]
                .as_str()
                .with_context(|| format!("no {key}: {component}"))
        };
        let (name, version) = (text("name")?, text("version")?);
        known.insert(text("bom-ref")?);
        if text("purl")?.starts_with("pkg:cargo/") {
            let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            ensure!(
                lock.contains(&locked),
                "{name} {version} is not in Cargo.lock"
            );
            ensure!(
                component["licenses"][0]["expression"].is_string(),
                "{component}"
            );
        }
        // A package of Debian may tell its licence in prose only.
        let licence = &component["licenses"][0];
        ensure!(
            licence["expression"].is_string() || licence["license"]["name"].is_string(),
            "{component}"
        );
        if let Some(checksum) = component["hashes"][0]["content"].as_str() {
            ensure!(lock.contains(checksum), "{component}");
        }
    }
    ensure!(
        known.len() == components.len() + 1,
        "a component is named twice"
    );
    for dependency in bill["dependencies"].as_array().context("dependencies")? {
        let on = dependency["dependsOn"].as_array().context("dependsOn")?;
        for reference in on
            .iter()
            .chain([&dependency["ref"]])
            .filter_map(Value::as_str)
        {
            ensure!(known.contains(reference), "{reference} is no component");
        }
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn every_crate_of_a_bill_has_the_text_of_its_licence_in_the_image() -> Result<()> {
    let test_dir = TestDir::new("materials-notices")?;
    let image = Image::of_probe("image", &binaries()?, test_dir.path()).await?;
    let notices = image.unpack().await?;
    let notices = notices.join("usr/share/doc/probe/THIRD-PARTY-NOTICES");
    let notices = std::fs::read_to_string(notices)?;
    // The line below each rule names who is under the text that follows.
    let rule = "=".repeat(80);
    let named: BTreeSet<&str> = notices
        .split(&rule)
        .skip(1)
        .filter_map(|part| part.trim_start().lines().next())
        .flat_map(|line| line.split(", "))
        .collect();
    let bill = std::fs::read_to_string(test_dir.path().join("image/probe.cdx.json"))?;
    let bill: Value = serde_json::from_str(&bill)?;
    for component in bill["components"].as_array().context("components")? {
        let text = |key: &str| component[key].as_str().unwrap_or_default();
        let foreign = component["hashes"].is_array();
        let name = format!("{} {}", text("name"), text("version"));
        ensure!(
            !foreign || named.contains(name.as_str()),
            "no text for {name}"
        );
    }
    let rust = named
        .iter()
        .any(|name| name.starts_with("Rust's standard library "));
    ensure!(rust, "no text for Rust's standard library");
    // They bring no text themselves.
    for name in ["mqttbytes-core-next", "rumqttc-core-next"] {
        let found = named.iter().any(|each| each.starts_with(name));
        ensure!(found, "no text for {name}");
    }
    ensure!(notices.contains("Copyright tekjar <raviteja@bytebeam.io>"));
    test_dir.passed();
    Ok(())
}
