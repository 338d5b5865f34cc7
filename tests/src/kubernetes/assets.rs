//! Where the server programs are: the convention of envtest, then the ignored cache that `tests/kubernetes/build` fills.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::process::{ProcessError, ProcessSpec};

/// A folder with the programs.
#[derive(Clone, Debug)]
pub(super) struct ServerPrograms {
    directory: PathBuf,
}

// === impl ServerPrograms ===

impl ServerPrograms {
    /// The folder in `$KUBEBUILDER_ASSETS` where that is set, else the one that `tests/kubernetes/build` fills.
    ///
    /// # Errors
    /// When a program is not there; the error names the command that builds it.
    pub(super) fn find() -> Result<Self, ProcessError> {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/kubernetes");
        Self::choose(std::env::var_os("KUBEBUILDER_ASSETS"), &cache).complete(&PROGRAMS)
    }

    /// The same folder, with what a node needs besides.
    ///
    /// # Errors
    /// When a program is not there; the error names the command that builds it.
    pub(super) fn with_nodes() -> Result<Self, ProcessError> {
        Self::find()?.complete(&NODE_PROGRAMS)
    }

    /// The command line of a program, still without arguments.
    pub(super) fn program(&self, name: &str) -> ProcessSpec {
        ProcessSpec::at(name, self.directory.join(name), REMEDY)
    }

    /// Where a program is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn choose(kubebuilder: Option<OsString>, cache: &Path) -> Self {
        let directory = match kubebuilder.filter(|path| !path.is_empty()) {
            Some(path) => path.into(),
            None => cache.join(version()),
        };
        Self { directory }
    }

    fn complete(self, programs: &[&str]) -> Result<Self, ProcessError> {
        let missing = programs
            .iter()
            .map(|name| self.directory.join(name))
            .find(|program| !program.is_file());
        match missing {
            None => Ok(self),
            Some(program) => Err(ProcessError::Missing {
                program: program.display().to_string(),
                remedy: REMEDY,
            }),
        }
    }
}

/// The version that `go.mod` names, such as `v1.36.3`.
fn version() -> &'static str {
    GO_MOD
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .unwrap_or_default()
}

const GO_MOD: &str = include_str!("../../kubernetes/go.mod");

const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];

// Only the tests of a node need them: a folder of somebody's own may lack them.
const NODE_PROGRAMS: [&str; 2] = ["kube-scheduler", "kubelet"];

const REMEDY: &str = "run tests/kubernetes/build (about eight minutes, once), or set $KUBEBUILDER_ASSETS to a folder \
                      with etcd, kube-apiserver and kube-controller-manager, and for a node kube-scheduler and kubelet";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_folder_comes_before_the_cache() {
        let cache = Path::new("cache");
        let set = ServerPrograms::choose(Some("elsewhere".into()), cache);
        assert_eq!(set.directory, Path::new("elsewhere"));
        for unset in [None, Some(OsString::new())] {
            let built = ServerPrograms::choose(unset, cache);
            assert_eq!(built.directory, cache.join(version()));
        }
    }

    #[test]
    fn the_version_is_the_one_of_go_mod() {
        assert!(version().starts_with("v1."), "{}", version());
    }

    #[test]
    fn missing_programs_name_the_command_that_builds_them() {
        let nowhere = ServerPrograms::choose(Some("nowhere".into()), Path::new("cache"));
        let error = nowhere.complete(&PROGRAMS).unwrap_err().to_string();
        assert!(error.contains("run tests/kubernetes/build"), "{error}");
    }
}
