//! Files that the agent keeps: names that any text can have, replacement as a whole, durability, permissions.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use link::private;

use crate::digest::sha256_hex;

pub(crate) mod modes;
mod sync;

pub(crate) use sync::{sync_all, sync_directory};

/// Turns any text into one file name: what is not `A-Za-z0-9_:.-` is percent-encoded, as is a leading dot or
/// underscore; what would pass 200 bytes ends in a hash instead.
pub(crate) fn safe_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (index, byte) in text.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b':')
            || (index > 0 && matches!(byte, b'.' | b'_'));
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > LONGEST_NAME {
        // `~` is never produced above, so a shortened name cannot equal a full one.
        name.truncate(LONGEST_NAME - 65);
        name.push('~');
        name.push_str(&sha256_hex(text.as_bytes()));
    }
    name
}

/// Replaces a file as a whole: a reader sees the old or the new content, never a part, and nobody but its owner sees
/// either. With `durable` the bytes are on the disk before the name is; syncing the directory is the caller's business.
///
/// # Errors
/// What the file system says; the old file is untouched then.
pub(crate) fn write_atomic(
    temp_dir: &Path,
    path: &Path,
    bytes: &[u8],
    durable: bool,
) -> io::Result<()> {
    let (temp, file) = write_temp(temp_dir, &[bytes])?;
    let done = if durable { file.sync_all() } else { Ok(()) };
    done.and_then(|()| fs::rename(&temp, path))
        .inspect_err(|_| drop(fs::remove_file(&temp)))
}

/// Writes a new hidden file that a rename will put in place.
fn write_temp(dir: &Path, parts: &[&[u8]]) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("{TEMP_PREFIX}{}-{number}", std::process::id()));
    let mut file = private::write_options().create_new(true).open(&path)?;
    for part in parts {
        if let Err(error) = file.write_all(part) {
            drop(fs::remove_file(&path));
            return Err(error);
        }
    }
    Ok((path, file))
}

/// Removes what interrupted writes left in a directory.
pub(crate) fn remove_temps(dir: &Path) -> io::Result<()> {
    for file in fs::read_dir(dir)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with(TEMP_PREFIX) {
            drop(fs::remove_file(file.path()));
        }
    }
    Ok(())
}

/// Files that are written and not yet in place. Those that do not get there leave nothing behind.
#[derive(Debug, Default)]
pub(crate) struct Drafts(Vec<(Option<PathBuf>, File)>);

// === impl Drafts ===

impl Drafts {
    /// Writes one more.
    pub(crate) fn write(&mut self, dir: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let (path, file) = write_temp(dir, parts)?;
        self.0.push((Some(path), file));
        Ok(())
    }

    /// The files, in the order in which they were written.
    pub(crate) fn files(&self) -> Vec<&File> {
        self.0.iter().map(|(_, file)| file).collect()
    }

    /// Puts the one with this number in place.
    pub(crate) fn place(&mut self, number: usize, path: &Path) -> io::Result<()> {
        let Some((draft, _)) = self.0.get_mut(number) else {
            return Ok(());
        };
        if let Some(from) = draft.as_deref() {
            fs::rename(from, path)?;
            *draft = None;
        }
        Ok(())
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        for path in self.0.iter().filter_map(|(path, _)| path.as_deref()) {
            drop(fs::remove_file(path));
        }
    }
}

/// How the name of a file begins that is written and not yet in place.
pub(crate) const TEMP_PREFIX: &str = ".tmp-";
// File systems allow 255 bytes; suffixes such as `.status` and `.yaml` need room.
const LONGEST_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_becomes_one_harmless_and_distinct_name(a in ".{0,120}", b in ".{0,120}") {
            let name = safe_name(&a);
            prop_assert!(name.len() <= LONGEST_NAME);
            prop_assert!(!name.starts_with('.') && !name.contains('/') && name.is_ascii());
            prop_assert_eq!(a == b, name == safe_name(&b));
        }
    }
}
