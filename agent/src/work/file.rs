//! How a work lies on disk: safe names, atomic replacement, a header line before the payload.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use link::private;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Head, Work};

/// Turns any text into one file name: what is not `A-Za-z0-9_:.-` is percent-encoded, as is a leading dot or
/// underscore; what would pass 200 bytes ends in a hash instead.
pub fn safe_name(text: &str) -> String {
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
pub fn write_atomic(temp_dir: &Path, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
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
pub(super) fn remove_temps(dir: &Path) -> io::Result<()> {
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
pub(super) struct Drafts(Vec<(Option<PathBuf>, File)>);

// === impl Drafts ===

impl Drafts {
    /// Writes one more.
    pub(super) fn write(&mut self, dir: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let (path, file) = write_temp(dir, parts)?;
        self.0.push((Some(path), file));
        Ok(())
    }

    /// The files, in the order in which they were written.
    pub(super) fn files(&self) -> Vec<&File> {
        self.0.iter().map(|(_, file)| file).collect()
    }

    /// Puts the one with this number in place.
    pub(super) fn place(&mut self, number: usize, path: &Path) -> io::Result<()> {
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

/// The first line of a work file.
#[derive(Serialize, Deserialize)]
pub(super) struct HeaderLine {
    format: u32,
    #[serde(flatten)]
    pub(super) head: Head,
    payload_bytes: u64,
    payload_sha256: String,
}

/// Why a work could not be read from a file.
#[derive(Debug)]
pub(super) enum Unread {
    /// The file system refused; what is in the file is another matter.
    Io(io::Error),
    /// It was read, and is no work as we write one.
    Damaged(Damage),
}

/// What is wrong with the content of a file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The header line is not what we write.
    #[error("has no valid header line")]
    Header(#[source] serde_json::Error),
    /// A later format.
    #[error("has format {0}, which this agent does not know")]
    Format(u32),
    /// Bytes are missing or added.
    #[error("holds {found} payload bytes instead of {expected}")]
    Length {
        /// Bytes found.
        found: u64,
        /// Bytes the header promises.
        expected: u64,
    },
    /// Bytes changed.
    #[error("holds a payload that differs from its checksum")]
    Checksum,
    /// The name belongs to another id.
    #[error("holds work `{0}`, which belongs in another file")]
    Name(String),
}

/// The header line with its line feed.
pub(super) fn header_line(work: &Work) -> Vec<u8> {
    let header = HeaderLine {
        format: FORMAT,
        head: work.head.clone(),
        payload_bytes: work.payload.len() as u64,
        payload_sha256: sha256_hex(&work.payload),
    };
    // Plain data with text keys always serialises.
    let mut line = serde_json::to_vec(&header).unwrap_or_default();
    line.push(b'\n');
    line
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Damage> for Unread {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

/// Reads the header only and checks the length of the rest: enough to build an index of 2 000 × 49 KB quickly.
pub(super) fn read_head(path: &Path) -> Result<Head, Unread> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let (header, line) = read_header(&mut BufReader::with_capacity(4096, file))?;
    let found = size.saturating_sub(line);
    if found != header.payload_bytes {
        return Err(Damage::Length {
            found,
            expected: header.payload_bytes,
        }
        .into());
    }
    Ok(header.head)
}

/// Reads a whole work and checks it.
pub(super) fn read_work(path: &Path) -> Result<Work, Unread> {
    let mut reader = BufReader::new(File::open(path)?);
    let (header, _) = read_header(&mut reader)?;
    let mut payload = Vec::new();
    reader.read_to_end(&mut payload)?;
    if payload.len() as u64 != header.payload_bytes {
        return Err(Damage::Length {
            found: payload.len() as u64,
            expected: header.payload_bytes,
        }
        .into());
    }
    if sha256_hex(&payload) != header.payload_sha256 {
        return Err(Damage::Checksum.into());
    }
    Ok(Work {
        head: header.head,
        payload: payload.into(),
    })
}

fn read_header(reader: &mut impl BufRead) -> Result<(HeaderLine, u64), Unread> {
    let mut line = Vec::new();
    reader.take(LONGEST_HEADER).read_until(b'\n', &mut line)?;
    let header: HeaderLine = serde_json::from_slice(&line).map_err(Damage::Header)?;
    if header.format != FORMAT {
        return Err(Damage::Format(header.format).into());
    }
    Ok((header, line.len() as u64))
}

/// Lower-case hex SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) const TEMP_PREFIX: &str = ".tmp-";
const FORMAT: u32 = 1;
// File systems allow 255 bytes; suffixes such as `.status` and `.yaml` need room.
const LONGEST_NAME: usize = 200;
// Three attributes of at most 65 535 bytes (MQTT text), each at worst six times as long in JSON.
const LONGEST_HEADER: u64 = 3 * 6 * 65_536;

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
