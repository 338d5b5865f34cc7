//! Tells a script where a process listens when the system chose the ports.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::error::Hint;

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write the listening addresses to `{}`", path.display())]
pub struct ListeningError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Hint for ListeningError {}

/// Writes a JSON object of base URLs by name (`mqtt` is no HTTP), whole or not at all: whoever finds the file finds it complete.
///
/// # Errors
/// When the file cannot be written.
pub fn write_listening_file(
    path: &Path,
    addresses: &[(&str, SocketAddr)],
) -> Result<(), ListeningError> {
    let urls: BTreeMap<&str, String> = addresses
        .iter()
        .map(|(name, address)| {
            let scheme = if *name == "mqtt" { "mqtt" } else { "http" };
            (*name, format!("{scheme}://{address}"))
        })
        .collect();
    let failed = |source| ListeningError {
        path: path.to_owned(),
        source,
    };
    let temporary = path.with_extension("tmp");
    let text = serde_json::to_string(&urls).map_err(|error| failed(error.into()))?;
    std::fs::write(&temporary, text).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}
