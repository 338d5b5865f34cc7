//! Where the programs of a node are: what `tests/node/fetch` and `tests/kubernetes/build` put into the ignored cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kubernetes::Cluster;
use crate::process::{ProcessError, ProcessSpec};
use crate::test_dir::workspace;

/// Folders with programs.
#[derive(Clone, Debug)]
pub(super) struct NodePrograms {
    directory: PathBuf,
    kubelet: PathBuf,
}

// === impl NodePrograms ===

impl NodePrograms {
    /// Fetches what is not there, which takes seconds; the kubelet must be built.
    ///
    /// # Errors
    /// When a program is not there; the error names the command that brings it.
    pub(super) fn find() -> Result<Self, ProcessError> {
        let kubelet = Cluster::kubelet()?;
        let script = workspace().join("tests/node/fetch");
        let missing = |said: &str| ProcessError::Missing {
            program: format!("what `{}` brings ({})", script.display(), said.trim()),
            remedy: REMEDY,
        };
        let fetched = Command::new(&script)
            .output()
            .map_err(|error| missing(&error.to_string()))?;
        if !fetched.status.success() {
            return Err(missing(&String::from_utf8_lossy(&fetched.stderr)));
        }
        let directory = String::from_utf8_lossy(&fetched.stdout).trim().into();
        Ok(Self { directory, kubelet })
    }

    /// The folder of containerd, its shim, ctr and runc.
    pub(super) fn programs(&self) -> PathBuf {
        self.directory.join("bin")
    }

    /// The folder of the CNI plugins.
    pub(super) fn cni(&self) -> PathBuf {
        self.directory.join("cni")
    }

    /// The image of a pod's sandbox.
    pub(super) fn pause(&self) -> PathBuf {
        self.directory.join("pause.tar")
    }

    /// The kubelet.
    pub(super) fn kubelet(&self) -> &Path {
        &self.kubelet
    }

    /// containerd's own client, for the namespace of Kubernetes.
    pub(super) fn ctr(&self, home: &Path) -> ProcessSpec {
        ProcessSpec::at("ctr", self.programs().join("ctr"), REMEDY)
            .arg("--address")
            .arg(home.join("containerd.sock"))
            .args(["--namespace", "k8s.io"])
    }
}

const REMEDY: &str = "run `tests/node/fetch` (seconds, once; Debian or Ubuntu)";
