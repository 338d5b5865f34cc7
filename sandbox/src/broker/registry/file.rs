//! The registry's file: JSON, replaced as a whole by rename, readable by its owner only.

use std::io::{self, Write as _};
use std::path::Path;

use link::private;

use super::{Account, RegistryError};

pub(super) fn read(path: &Path) -> Result<Option<Account>, RegistryError> {
    let failed = |operation| {
        move |source| RegistryError::File {
            operation,
            path: path.display().to_string(),
            source,
        }
    };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read")(error)),
    };
    private::tighten(path).map_err(failed("make private"))?;
    let account = serde_json::from_slice(&text)
        .map_err(io::Error::from)
        .map_err(failed("parse"))?;
    Ok(Some(account))
}

pub(super) fn write(path: &Path, account: &Account) -> Result<(), RegistryError> {
    let failed = |source| RegistryError::File {
        operation: "write",
        path: path.display().to_string(),
        source,
    };
    let text = serde_json::to_vec_pretty(account)
        .map_err(io::Error::from)
        .map_err(failed)?;
    let temporary = path.with_extension("json.new");
    // One that a crash left has a mode of its own.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let opened = private::write_options().create_new(true).open(&temporary);
    let written = opened.and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()
    });
    written.map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_its_owners_alone_whatever_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.json");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        // What a crash left, open to all.
        let left = path.with_extension("json.new");
        fs::write(&left, "").unwrap();
        fs::set_permissions(&left, Permissions::from_mode(0o666)).unwrap();
        write(&path, &Account::default()).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap().is_some());
        assert_eq!(mode(), 0o600);
    }
}
