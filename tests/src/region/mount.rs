//! A mounted directory of secrets (docs/CONFIGURATION.md#mounted-files): an identity, `config.yaml` and, for an agent, `consumerName`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sandbox::pki::{Layout, Set, write_mount};

/// A directory as the CSI driver mounts it.
#[derive(Clone, Debug)]
pub struct Mount {
    directory: PathBuf,
    consumer: Option<String>,
    broker: SocketAddr,
    layout: Layout,
}

// === impl Mount ===

impl Mount {
    /// A mount that is not written yet, for a party that reaches the broker at this address.
    pub fn new(
        directory: PathBuf,
        consumer: Option<&str>,
        broker: SocketAddr,
        layout: Layout,
    ) -> Self {
        Self {
            directory,
            consumer: consumer.map(str::to_owned),
            broker,
            layout,
        }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes it anew with another identity, the way its writer does.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn replace(&self, set: &Set) -> Result<()> {
        let config = self.config();
        let mut files = vec![("config.yaml", config.as_str())];
        if let Some(consumer) = &self.consumer {
            files.push(("consumerName", consumer));
        }
        Ok(write_mount(&self.directory, set, &files, self.layout)?)
    }

    /// Replaces one file by rename, as the AWS provider's default does between two files of a set: a torn pair.
    /// Only for [`Layout::PerFileRename`]; the other writer cannot tear.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn replace_file(&self, name: &str, content: &str) -> Result<()> {
        let temporary = self.directory.join(format!("{name}.new"));
        std::fs::write(&temporary, content)?;
        Ok(std::fs::rename(temporary, self.directory.join(name))?)
    }

    /// `localhost` rather than the address, so that the server's name is checked as a name and sent as SNI.
    fn config(&self) -> String {
        format!("brokerHost: localhost:{}\n", self.broker.port())
    }
}
