//! A mounted directory as the CSI driver lays it down: which of the known files are there.

use std::path::{Path, PathBuf};

use super::problem::{ConfigProblem, ConfigProblems, Origin};
use crate::error::chain;
use crate::file::{self, ReadError};
use crate::id::ConsumerName;

/// What a mounted directory holds (docs/CONFIGURATION.md#mounted-files). Certificates are not read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory.
    pub directory: PathBuf,
    /// `config.yaml`, if there.
    pub config: Option<PathBuf>,
    /// The name in `consumerName`, if there.
    pub consumer: Option<ConsumerName>,
    /// Whether certificate, key and CA are all there, so that the directory can be the identity's location.
    pub has_identity: bool,
}

/// Looks at a mounted directory.
///
/// # Errors
/// [`ConfigProblems`]: no such directory, part of an identity only, or a consumer name that is not valid.
pub fn from_mount(directory: &Path) -> Result<Mount, ConfigProblems> {
    let at = |path: &Path| Origin::File {
        path: path.to_owned(),
        line: 0,
    };
    if !directory.is_dir() {
        let what = if directory.exists() {
            "is not a directory"
        } else {
            "does not exist"
        };
        let fix = "give the directory where the secrets are mounted".to_owned();
        return Err(ConfigProblems::new(vec![ConfigProblem::new(
            at(directory),
            what,
            fix,
        )]));
    }
    let mut problems = Vec::new();
    let consumer = match consumer_name(&directory.join(CONSUMER_NAME)) {
        Ok(consumer) => consumer,
        Err(what) => {
            let fix = "write the name of the management cluster and nothing else".to_owned();
            problems.push(ConfigProblem::new(
                at(&directory.join(CONSUMER_NAME)),
                what,
                fix,
            ));
            None
        }
    };
    let missing: Vec<_> = IDENTITY
        .iter()
        .filter(|names| !names.iter().any(|name| directory.join(name).exists()))
        .map(|names| format!("`{}`", names.join("` or `")))
        .collect();
    if !missing.is_empty() && missing.len() < IDENTITY.len() {
        let what = format!(
            "holds only a part of an identity: no {}",
            missing.join(", no ")
        );
        let fix = "mount certificate, private key and CA together".to_owned();
        problems.push(ConfigProblem::new(at(directory), what, fix));
    }
    if !problems.is_empty() {
        return Err(ConfigProblems::new(problems));
    }
    Ok(Mount {
        directory: directory.to_owned(),
        config: Some(directory.join(CONFIG)).filter(|path| path.exists()),
        consumer,
        has_identity: missing.is_empty(),
    })
}

fn consumer_name(path: &Path) -> Result<Option<ConsumerName>, String> {
    match file::read_text(path, CONSUMER_NAME_BYTES) {
        Ok(text) => match ConsumerName::new(text.trim()) {
            Ok(name) => Ok(Some(name)),
            Err(error) => Err(format!("is not valid: {error}")),
        },
        Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(chain(&error)),
    }
}

// A name has 253 characters at most; an editor may have added line breaks.
const CONSUMER_NAME_BYTES: u64 = 1024;

const CONFIG: &str = "config.yaml";
const CONSUMER_NAME: &str = "consumerName";

/// Each file by the first deployment's name and by Kubernetes' (docs/CONFIGURATION.md#mounted-files).
const IDENTITY: [&[&str]; 3] = [
    &["certificate", "tls.crt"],
    &["privateKey", "tls.key"],
    &["ca.crt"],
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn mounted_directory_is_recognised_by_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        put("config.yaml", "brokerHost: b:1\n");
        put("consumerName", "cluster1\n");
        let mount = from_mount(directory.path()).unwrap();
        assert_eq!(mount.config, Some(directory.path().join("config.yaml")));
        assert_eq!(mount.consumer.unwrap().as_str(), "cluster1");
        assert!(!mount.has_identity);

        put("certificate", "x");
        put("consumerName", "Cluster_1\n");
        let problems = from_mount(directory.path()).unwrap_err().to_string();
        assert!(
            problems
                .contains("consumerName: is not valid: consumer name `Cluster_1` may hold only"),
            "{problems}"
        );
        assert!(
            problems.contains("holds only a part of an identity: no `privateKey` or `tls.key`, no `ca.crt`; mount certificate, private key and CA together"),
            "{problems}"
        );
        put("consumerName", "cluster1");
        put("tls.key", "x");
        put("ca.crt", "x");
        assert!(from_mount(directory.path()).unwrap().has_identity);

        let nowhere = from_mount(&directory.path().join("nowhere"))
            .unwrap_err()
            .to_string();
        assert!(
            nowhere.contains("nowhere: does not exist; give the directory"),
            "{nowhere}"
        );
    }
}
