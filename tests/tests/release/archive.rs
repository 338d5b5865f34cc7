//! An image's archive as a test looks at it, read with `tar`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::process::ProcessSpec;
use tests::test_dir::profile_directory;

use crate::{PATIENCE, label, script};

/// An archive that was unpacked.
pub(crate) struct Image {
    directory: PathBuf,
    logs: PathBuf,
    /// The digest that the script printed into `digests`.
    pub(crate) digest: String,
}

/// A line of a layer's listing.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) mode: String,
    pub(crate) owner: String,
    pub(crate) path: String,
}

// === impl Image ===

impl Image {
    /// Makes the image of `probe` in `logs/NAME`, from a program in `binaries`.
    pub(crate) async fn of_probe(name: &str, binaries: &Path, logs: &Path) -> Result<Self> {
        let out = logs.join(name);
        let arguments = [
            "--unpinned",
            "--binaries",
            text(binaries)?,
            "--out",
            text(&out)?,
            "--source",
            SOURCE,
            "probe",
        ];
        let made = script("deploy/images/build", &arguments, logs).await?;
        ensure!(made.status.success(), "{}", made.stderr);
        let directory = out.join("layout");
        std::fs::create_dir_all(&directory)?;
        tar(
            &[
                "-xf",
                text(&out.join("probe.tar"))?,
                "-C",
                text(&directory)?,
            ],
            logs,
        )
        .await?;
        let digests = std::fs::read_to_string(out.join("digests"))?;
        let digest = digests.split_whitespace().nth(1).context("a digest")?;
        Ok(Self {
            directory,
            logs: logs.to_path_buf(),
            digest: digest.to_owned(),
        })
    }

    /// A JSON document of the layout by its path.
    pub(crate) fn document(&self, path: &str) -> Result<Value> {
        let text = std::fs::read_to_string(self.directory.join(path))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A JSON document by the descriptor that points to it.
    pub(crate) fn blob(&self, descriptor: &Value) -> Result<Value> {
        self.document(&blob_path(descriptor)?)
    }

    pub(crate) fn manifest(&self) -> Result<Value> {
        self.blob(&self.document("index.json")?["manifests"][0])
    }

    /// All that is in the layers, from the lowest to the highest.
    pub(crate) async fn entries(&self) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for layer in self.layers()? {
            let listed = tar(&["--numeric-owner", "-tvzf", text(&layer)?], &self.logs).await?;
            for line in listed.lines() {
                let mut words = line.split_whitespace();
                let mut next = || words.next().unwrap_or_default().to_owned();
                let (mode, owner) = (next(), next());
                let path = words.nth(3).context("a path")?.to_owned();
                found.push(Entry { mode, owner, path });
            }
        }
        Ok(found)
    }

    /// Unpacks the layers over each other.
    pub(crate) async fn unpack(&self) -> Result<PathBuf> {
        let root = self.directory.join("unpacked");
        std::fs::create_dir_all(&root)?;
        for layer in self.layers()? {
            let arguments = ["--no-same-owner", "-xzf", text(&layer)?, "-C", text(&root)?];
            tar(&arguments, &self.logs).await?;
        }
        Ok(root)
    }

    fn layers(&self) -> Result<Vec<PathBuf>> {
        let manifest = self.manifest()?;
        let layers = manifest["layers"].as_array().context("layers")?;
        layers
            .iter()
            .map(|layer| Ok(self.directory.join(blob_path(layer)?)))
            .collect()
    }
}

/// Where the programs are that the tests run.
pub(crate) fn binaries() -> Result<PathBuf> {
    Ok(profile_directory()?)
}

pub(crate) async fn tar(arguments: &[&str], logs: &Path) -> Result<String> {
    let spec = ProcessSpec::installed("tar", "install tar")?;
    let output = spec
        .label(label())
        .args(arguments)
        .run(logs, PATIENCE)
        .await?;
    ensure!(
        output.status.success(),
        "tar {arguments:?}: {}",
        output.stderr
    );
    Ok(output.stdout)
}

pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

fn blob_path(descriptor: &Value) -> Result<String> {
    let digest = descriptor["digest"].as_str().context("a digest")?;
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

pub(crate) const SOURCE: &str = "https://git.example/link";
