//! Text files that the user names. Pipes are read too (`--file <(…)`), so that what has no end must be cut off.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The text of a file of at most 4 MiB, many times what any of ours has.
///
/// # Errors
/// The system's; [`io::ErrorKind::FileTooLarge`] and [`io::ErrorKind::InvalidData`] for what is no such text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        let kind = io::ErrorKind::FileTooLarge;
        return Err(io::Error::new(kind, "it is larger than 4 MiB"));
    }
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(bytes).map_err(not_text)
}

const LIMIT: u64 = 4 << 20;
