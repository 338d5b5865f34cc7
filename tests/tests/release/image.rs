//! `deploy/images/build`: what is in an image, that it comes out the same each time, and what is refused.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::process::ProcessSpec;
use tests::test_dir::TestDir;

use crate::archive::{Image, SOURCE, binaries, text};
use crate::{PATIENCE, label, root, script, spec};

#[tokio::test]
async fn the_same_program_makes_the_same_image() -> Result<()> {
    let test_dir = TestDir::new("image-same")?;
    let elsewhere = test_dir.dir("elsewhere")?;
    // Another place and another time than the first.
    std::fs::copy(binaries()?.join("probe"), elsewhere.join("probe"))?;
    let first = Image::of_probe("first", &binaries()?, test_dir.path()).await?;
    let second = Image::of_probe("second", &elsewhere, test_dir.path()).await?;
    ensure!(first.digest.starts_with("sha256:"), "{}", first.digest);
    ensure!(
        first.digest == second.digest,
        "{} and {}",
        first.digest,
        second.digest
    );
    for file in ["probe.tar", "probe.cdx.json", "digests"] {
        let [first, second] = ["first", "second"].map(|name| test_dir.path().join(name).join(file));
        ensure!(
            std::fs::read(first)? == std::fs::read(second)?,
            "{file} differs"
        );
    }
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn an_image_says_what_it_is_and_runs_as_nobody() -> Result<()> {
    let test_dir = TestDir::new("image-config")?;
    let image = Image::of_probe("image", &binaries()?, test_dir.path()).await?;
    let index = image.document("index.json")?;
    let described = &index["manifests"][0];
    ensure!(described["digest"] == image.digest, "{index}");
    let name = format!("localhost/probe:{}", env!("CARGO_PKG_VERSION"));
    for key in [
        "org.opencontainers.image.ref.name",
        "io.containerd.image.name",
    ] {
        ensure!(described["annotations"][key] == name, "{index}");
    }
    // Docker's own document names the same.
    let docker = image.document("manifest.json")?;
    ensure!(docker[0]["RepoTags"] == json!([name]), "{docker}");

    let manifest = image.manifest()?;
    let image = image.blob(&manifest["config"])?;
    let config = &image["config"];
    ensure!(image["os"] == "linux", "{image}");
    ensure!(image["created"] == "2026-11-29T00:00:00Z", "{image}");
    ensure!(config["User"] == "65532:65532", "{config}");
    ensure!(
        config["Entrypoint"] == json!(["/usr/local/bin/probe"]),
        "{config}"
    );
    ensure!(config.get("Cmd").is_none(), "{config}");
    let labels = [
        ("title", "probe"),
        (
            "description",
            "The operator's hand tool: publish, subscribe, ping and check a link",
        ),
        ("version", env!("CARGO_PKG_VERSION")),
        ("created", "2026-11-29T00:00:00Z"),
        ("source", SOURCE),
        ("licenses", "Apache-2.0"),
    ];
    let labels =
        labels.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.into()));
    let labels = labels.into_iter().collect::<serde_json::Map<_, _>>();
    ensure!(config["Labels"] == json!(labels), "{config}");

    // Who builds with an engine gets the same.
    let dockerfile = std::fs::read_to_string(root().join("deploy/images/Dockerfile"))?;
    for key in labels.keys() {
        ensure!(dockerfile.contains(&format!("{key}=")), "no label {key}");
    }
    ensure!(dockerfile.contains("org.opencontainers.image.revision="));
    let environment = config["Env"].as_array().context("an environment")?;
    let environment: Vec<_> = environment
        .iter()
        .filter_map(|each| each.as_str())
        .collect();
    let environment = format!("\nENV {}\n", environment.join(" "));
    ensure!(dockerfile.contains(&environment), "{environment}");
    ensure!(dockerfile.contains("\nUSER 65532:65532\n"));
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn an_image_holds_no_shell_and_nothing_that_its_user_may_change() -> Result<()> {
    let test_dir = TestDir::new("image-layers")?;
    let image = Image::of_probe("image", &binaries()?, test_dir.path()).await?;
    let mut executable = Vec::new();
    for entry in image.entries().await? {
        let (mode, path) = (entry.mode.as_str(), entry.path.as_str());
        ensure!(!mode.contains('s'), "{entry:?} has rights of its owner");
        let own = ["tmp/", "home/nonroot/"].contains(&path);
        ensure!(own || entry.owner == "0/0", "{entry:?} is not root's");
        // A link has no rights of its own.
        let open = mode.as_bytes().get(8) == Some(&b'w') && !mode.starts_with('l');
        ensure!(own || !open, "{entry:?} can be changed by anybody");
        if mode.starts_with('-') && mode.contains('x') {
            executable.push(entry.path);
        }
    }
    executable.retain(|path| !path.contains(".so."));
    ensure!(executable == ["usr/local/bin/probe"], "{executable:?}");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_program_finds_all_it_needs_in_its_image() -> Result<()> {
    let test_dir = TestDir::new("image-run")?;
    let image = Image::of_probe("image", &binaries()?, test_dir.path()).await?;
    let unpacked = image.unpack().await?;

    let authorities = unpacked.join("etc/ssl/certs/ca-certificates.crt");
    let authorities = std::fs::read_to_string(authorities)?;
    let count = authorities.matches("-----BEGIN CERTIFICATE-----").count();
    ensure!(count > 100, "{count} authorities");
    let notices = unpacked.join("usr/share/doc/probe/THIRD-PARTY-NOTICES");
    let notices = std::fs::read_to_string(notices)?;
    ensure!(notices.contains("rustls "), "{notices}");
    for (file, text) in [
        ("usr/share/doc/probe/LICENSE", "Apache License"),
        ("usr/share/doc/libc6/copyright", "GNU Lesser General Public"),
        ("var/lib/dpkg/status.d/libc6", "Package: libc6"),
        ("etc/passwd", "nonroot:x:65532:65532:"),
    ] {
        let content = std::fs::read_to_string(unpacked.join(file))?;
        ensure!(content.contains(text), "{file}: {content}");
    }

    // With its loader and its libraries, and none of this machine's.
    let libraries = unpacked
        .join("lib")
        .join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let loader = std::fs::read_dir(&libraries)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.to_string_lossy().contains("/ld-linux-"))
        .context("a loader")?;
    let run = ProcessSpec::at("loader", loader, "see deploy/images/base.lock")
        .label(label())
        .args(["--inhibit-cache", "--library-path"])
        .args([&libraries, &unpacked.join("usr/local/bin/probe")])
        .arg("--version")
        .run(test_dir.path(), PATIENCE)
        .await?;
    ensure!(run.status.success(), "{}", run.stderr);
    ensure!(run.stdout.starts_with("probe "), "{}", run.stdout);
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_an_image_is_refused_with_what_to_do() -> Result<()> {
    let test_dir = TestDir::new("image-refused")?;
    let out = test_dir.path().join("out");
    let binaries = binaries()?;
    let good = text(&binaries)?;

    // It would not start: its libc is newer than the one of the image.
    let newer = test_dir.dir("newer")?;
    let program = std::fs::read(binaries.join("probe"))?;
    std::fs::write(newer.join("probe"), with_a_newer_libc(program))?;
    let none = test_dir.dir("none")?;
    let script_instead = test_dir.dir("script")?;
    std::fs::write(script_instead.join("probe"), "#!/bin/sh\n")?;
    let cases: &[(&[&str], &str)] = &[
        (
            &["--binaries", text(&newer)?, "probe"],
            "needs glibc 2.99, the base has 2.",
        ),
        (
            &["--binaries", text(&none)?, "probe"],
            "hint: build it: cargo build --profile dist --bin probe",
        ),
        (
            &["--binaries", text(&script_instead)?, "probe"],
            "is no program for 64-bit Linux",
        ),
        (
            &["--binaries", good, "--largest", "1", "probe"],
            "more than the 1 MB that an image may have",
        ),
        (
            &["--binaries", good, "prob"],
            "`prob` is no program of ours; there are agent,",
        ),
    ];
    for (arguments, expected) in cases {
        let arguments = [*arguments, &["--unpinned", "--out", text(&out)?]].concat();
        let refused = script("deploy/images/build", &arguments, test_dir.path()).await?;
        ensure!(!refused.status.success(), "{arguments:?} is taken");
        ensure!(
            refused.stderr.contains(expected),
            "{arguments:?}: {}",
            refused.stderr
        );
        ensure!(!refused.stderr.contains("Traceback"), "{}", refused.stderr);
    }
    ensure!(!out.join("probe.tar").exists(), "an archive was left");
    test_dir.passed();
    Ok(())
}

#[tokio::test]
async fn a_package_that_is_not_the_pinned_one_gets_into_no_image() -> Result<()> {
    let test_dir = TestDir::new("image-pinned")?;
    let cache = test_dir.dir("cache")?;
    let (out, binaries) = (test_dir.path().join("out"), binaries()?);
    let arguments = [
        "--out",
        text(&out)?,
        "--binaries",
        text(&binaries)?,
        "probe",
    ];
    let lock = std::fs::read_to_string(root().join("deploy/images/base.lock"))?;
    let pins = lock.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    for pin in pins.filter(|pin| pin.len() == 5 && pin[0] == "base-files") {
        let file = pin[3].rsplit('/').next().context("a name")?;
        let file = format!("{}-{file}", &pin[4][..16]);
        std::fs::write(cache.join(file), "!<arch>\nsomething else")?;
    }
    // Nothing is served: mirror and archive are a port that nobody listens on.
    let refused = spec("deploy/images/build")
        .env("IMAGES_CACHE", &cache)
        .env("DEBIAN_SNAPSHOT", "http://127.0.0.1:9")
        .env("DEBIAN_MIRROR", "http://127.0.0.1:9")
        .args(arguments)
        .run(test_dir.path(), PATIENCE)
        .await?;
    ensure!(refused.status.code() == Some(1), "{}", refused.stderr);
    ensure!(
        refused
            .stderr
            .contains("of cache is not what base.lock pins"),
        "{}",
        refused.stderr
    );
    ensure!(
        refused.stderr.contains("is served neither by apt nor by"),
        "{}",
        refused.stderr
    );
    ensure!(
        refused.stderr.contains("hint: pin what is served today"),
        "{}",
        refused.stderr
    );
    ensure!(!out.join("probe.tar").exists(), "an image was made");
    test_dir.passed();
    Ok(())
}

#[test]
fn every_program_has_the_same_stages_in_the_dockerfile() -> Result<()> {
    let dockerfile = std::fs::read_to_string(root().join("deploy/images/Dockerfile"))?;
    for name in crate::PROGRAMS {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml"))?;
        let description = manifest
            .lines()
            .find_map(|line| line.strip_prefix("description = "))
            .context("a description")?;
        for stage in [
            format!(
                "FROM source AS build-{name}\nRUN {CACHES} deploy/images/compile {name} /out\n"
            ),
            format!(
                "FROM base AS {name}\n\
                 LABEL org.opencontainers.image.title=\"{name}\" \\\n      \
                 org.opencontainers.image.description={description}\n\
                 COPY --from=build-{name} /out /\n\
                 ENTRYPOINT [\"/usr/local/bin/{name}\"]\n"
            ),
        ] {
            ensure!(dockerfile.contains(&stage), "the Dockerfile lacks\n{stage}");
        }
        ensure!(Path::new(&root()).join(name).is_dir());
    }
    Ok(())
}

/// The program with another name for the version of libc that it needs.
fn with_a_newer_libc(mut program: Vec<u8>) -> Vec<u8> {
    let wanted = b"\0GLIBC_2.34\0";
    let mut at = 0;
    while let Some(found) = program[at..]
        .windows(wanted.len())
        .position(|part| part == wanted)
    {
        at += found + 1;
        program[at..at + wanted.len() - 2].copy_from_slice(b"GLIBC_2.99");
    }
    program
}

const CACHES: &str = "--mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,sharing=locked";
