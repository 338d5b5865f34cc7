//! The file of a work: a header line before the payload.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Head, Work};
use crate::digest::sha256_hex;

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

const FORMAT: u32 = 1;
// Three attributes of at most 65 535 bytes (MQTT text), each at worst six times as long in JSON.
const LONGEST_HEADER: u64 = 3 * 6 * 65_536;
