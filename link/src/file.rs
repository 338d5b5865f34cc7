//! Reads a file named by a user: regular files only, up to a limit, without blocking on a writer.
//!
//! A path in a configuration may be anything: reading a named pipe would block until something is written to it,
//! `/dev/zero` or a wrong path would be read until memory is used up.

use std::fs::{FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Why a file was not read. The text says what is wrong with it and leaves its name to the caller; nothing of the
/// content is in it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not a regular file.
    #[error("is {0}, not a regular file")]
    NotRegular(&'static str),
    /// Larger than what it is meant for can be.
    #[error("is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// Not UTF-8.
    #[error("is not UTF-8 text")]
    NotText,
    /// The operating system's.
    #[error("cannot be read")]
    Io(#[from] io::Error),
}

/// The content of a regular file of at most `limit` bytes. Follows symbolic links.
///
/// # Errors
/// [`ReadError`] says what it is instead.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    // Opened before it is looked at, so that what is looked at is what is read.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::NotRegular(kind(metadata.file_type())));
    }
    // A file that grows meanwhile, or tells no size as in `/proc`, stays within the bound all the same.
    let mut bytes = Vec::new();
    if metadata.len() <= limit {
        file.take(limit + 1).read_to_end(&mut bytes)?;
    }
    if metadata.len().max(bytes.len() as u64) > limit {
        return Err(ReadError::TooLarge { limit });
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// As [`read`], and [`ReadError::NotText`].
pub fn read_text(path: &Path, limit: u64) -> Result<String, ReadError> {
    String::from_utf8(read(path, limit)?).map_err(|_| ReadError::NotText)
}

fn kind(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_bound_are_read() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"1234");
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read_text(&link, 4).unwrap(), "1234");
        let refused = |path: &Path, limit| read(path, limit).unwrap_err().to_string();
        assert_eq!(refused(&path, 3), "is larger than 3 bytes");
        assert_eq!(
            refused(Path::new("/dev/zero"), 1024),
            "is a device, not a regular file"
        );
        assert_eq!(
            refused(scratch.path(), 1024),
            "is a directory, not a regular file"
        );
        let missing = read(&scratch.path().join("missing"), 1).unwrap_err();
        assert!(matches!(missing, ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(read_text(&path, 4), Err(ReadError::NotText)));
    }

    #[test]
    fn a_named_pipe_is_refused_without_waiting_for_its_writer() {
        let scratch = tempfile::tempdir().unwrap();
        let pipe = scratch.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let refused = read(&pipe, 1024).unwrap_err();
        assert_eq!(refused.to_string(), "is a named pipe, not a regular file");
    }

    #[test]
    fn files_that_tell_no_size_stay_within_the_bound() {
        let status = Path::new("/proc/self/status");
        if status.exists() {
            assert!(read(status, 1024 * 1024).is_ok_and(|bytes| !bytes.is_empty()));
            assert!(matches!(read(status, 10), Err(ReadError::TooLarge { .. })));
        }
    }
}
