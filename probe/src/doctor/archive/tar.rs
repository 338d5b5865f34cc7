//! Writes a tar archive in the old and common form (POSIX.1-1988, "ustar"): regular files with short names.

/// An archive in memory.
pub(super) struct Archive {
    bytes: Vec<u8>,
    time: u64,
}

// === impl Archive ===

impl Archive {
    /// Its files get this time, in seconds since 1970.
    pub(super) fn new(time: u64) -> Self {
        Self {
            bytes: Vec::new(),
            time,
        }
    }

    /// Adds a file; names are ours, and shorter than 100 bytes.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, &name[..name.len().min(NAME)]);
        put(100, "0000600");
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, &format!("{:011o}", self.time));
        // The checksum counts itself as blanks.
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\0");
        put(263, "00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        let text = format!("{sum:06o}\0 ");
        header[148..148 + text.len()].copy_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        let rest = content.len().next_multiple_of(BLOCK) - content.len();
        self.bytes.extend(std::iter::repeat_n(0, rest));
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 2 * BLOCK]);
        self.bytes
    }
}

const BLOCK: usize = 512;

const NAME: usize = 99;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_reads_what_is_written() {
        let mut archive = Archive::new(1_700_000_000);
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1] {
            archive.add(&format!("doctor/{length}"), &vec![b'x'; length]);
        }
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("a.tar");
        std::fs::write(&file, archive.finish()).unwrap();
        let unpacked = Command::new("tar")
            .arg("-xf")
            .arg(&file)
            .current_dir(scratch.path())
            .status();
        assert!(unpacked.unwrap().success());
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1] {
            let content = std::fs::read(scratch.path().join(format!("doctor/{length}"))).unwrap();
            assert_eq!(content, vec![b'x'; length]);
        }
    }
}
