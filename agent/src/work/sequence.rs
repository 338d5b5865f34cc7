//! Sequence ids that never go back, not even after a restart with a clock that did.
//!
//! A ceiling some seconds ahead is on disk before any id below it is used; a restart continues above the ceiling.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use link::order::{SequenceId, Sequencer};

use super::file::write_atomic;

#[derive(Debug)]
pub(super) struct Sequence {
    dir: PathBuf,
    sequencer: Sequencer,
    ceiling: Option<SequenceId>,
}

// === impl Sequence ===

impl Sequence {
    /// Continues after the ceiling in `dir`. A file that cannot be read is as good as none: the clock is then the
    /// only guide, as it is for a Go agent always.
    pub(super) fn open(dir: &Path) -> Self {
        let ceiling = std::fs::read_to_string(dir.join(FILE))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        Self {
            dir: dir.into(),
            sequencer: Sequencer::after(ceiling),
            ceiling,
        }
    }

    pub(super) fn next(&mut self, now: Timestamp) -> std::io::Result<SequenceId> {
        let id = self.sequencer.next(now);
        let covered = self
            .ceiling
            .is_some_and(|ceiling| id.is_newer_than(Some(ceiling)) == Ok(false));
        if !covered {
            let ahead = now.saturating_add(AHEAD).unwrap_or(now);
            let mut ceiling = SequenceId::from_parts(ahead, AGENT_NODE, 0xfff);
            if ceiling.is_newer_than(Some(id)) != Ok(true) {
                // The clock is far behind the last run: ids go up step by step, each one its own ceiling.
                ceiling = id;
            }
            write_atomic(
                &self.dir,
                &self.dir.join(FILE),
                format!("{ceiling}\n").as_bytes(),
                true,
            )?;
            self.ceiling = Some(ceiling);
        }
        Ok(id)
    }
}

const FILE: &str = "sequence";
const AGENT_NODE: u16 = 1;
// One small durable write per this much time of reporting; a quick restart is at most this far ahead of the clock.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_with_an_older_clock_continues_above_the_last_id() {
        let dir = tempfile::tempdir().unwrap();
        let at: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let mut sequence = Sequence::open(dir.path());
        let mut last = sequence.next(at).unwrap();
        for hours in [0, 1, 5, 24] {
            let mut sequence = Sequence::open(dir.path());
            for _ in 0..3 {
                let now = at - SignedDuration::from_hours(hours);
                let next = sequence.next(now).unwrap();
                assert_eq!(next.is_newer_than(Some(last)), Ok(true));
                last = next;
            }
        }
    }
}
