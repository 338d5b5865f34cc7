//! The registry's file: JSON, replaced whole by rename.

use std::io;
use std::path::Path;

use super::{Account, Error};

pub(super) fn read(path: &Path) -> Result<Option<Account>, Error> {
    let failed = |operation| {
        move |source| Error::File {
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
    let account = serde_json::from_slice(&text)
        .map_err(io::Error::from)
        .map_err(failed("parse"))?;
    Ok(Some(account))
}

pub(super) fn write(path: &Path, account: &Account) -> Result<(), Error> {
    let failed = |source| Error::File {
        operation: "write",
        path: path.display().to_string(),
        source,
    };
    let text = serde_json::to_vec_pretty(account)
        .map_err(io::Error::from)
        .map_err(failed)?;
    let temporary = path.with_extension("json.new");
    std::fs::write(&temporary, text).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}
