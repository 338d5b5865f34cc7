//! An agent of a region: its process, its directories, and what it has applied.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use link::bundle::manifest::ObjectRef;
use serde_json::Value;

use super::{Mount, Service};

/// One agent with its directories.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub service: Service,
    /// Its identity and configuration.
    pub mount: Mount,
    /// Where it applies objects, unless that is a cluster.
    pub target: PathBuf,
    /// Where it remembers its works, unless that is a cluster.
    pub state: PathBuf,
    /// The namespace of its works in a cluster.
    pub namespace: Option<String>,
}

// === impl Agent ===

impl Agent {
    /// Where this manifest is applied: `<namespace or _cluster>/<kind.group>/<name>.yaml`.
    pub fn file_of(&self, manifest: &Value) -> PathBuf {
        let object = ObjectRef::of(manifest);
        let namespace = match object.namespace.as_str() {
            "" => "_cluster",
            namespace => namespace,
        };
        let directory = self.target.join(namespace).join(object.kind_group());
        directory.join(format!("{}.yaml", object.name))
    }

    /// The applied form of this manifest; `None` while there is none.
    ///
    /// # Errors
    /// When the file is there and is not YAML.
    pub fn applied(&self, manifest: &Value) -> Result<Option<Value>> {
        read_yaml(&self.file_of(manifest))
    }
}

fn read_yaml(path: &Path) -> Result<Option<Value>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let value = serde_saphyr::from_str(&text);
            value
                .map(Some)
                .with_context(|| format!("parse `{}`", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
    }
}
