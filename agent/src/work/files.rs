//! The durable set of works: `works/<name>.work` holds the work, `works/<name>.status` its newest status.
//!
//! Measured choice: one file per work and group commit (write all, sync in parallel, rename all, sync the
//! directory once) instead of a journal, because a person can look at it and a damaged file costs one work only.

// Long because the store is one state under one lock.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use link::order::SequenceId;
use link::private;
use tracing::{error, warn};

use super::error::{StoreError, io_error};
use super::file::{self, Damage, Unread};
use super::sequence::Sequence;
use super::{Head, StatusRecord, Work, WorkId, WorkIndex};
use crate::disk::{
    self, Drafts, TEMP_PREFIX, modes, safe_name, sync_all, sync_directory, write_atomic,
};
use memory::Memory;

mod memory;
mod store;

/// The store. Its own methods block on the file system; [`Store`](crate::work::Store) is implemented for `Arc<Files>` and does not.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    works: PathBuf,
    corrupt: PathBuf,
    index: WorkIndex,
    // Held over check and write of a status, so that a removal or a commit cannot come between.
    writing: Mutex<()>,
    sequence: Mutex<Sequence>,
    memory: Memory,
    _lock: File,
}

/// What opening found.
#[derive(Debug)]
pub struct OpenedFiles {
    /// The store.
    pub store: Files,
    /// How many works it holds.
    pub works: usize,
    /// Files that were damaged and moved aside.
    pub quarantined: Vec<Quarantined>,
}

/// A damaged file that was moved aside. The next resync brings the work back.
#[derive(Debug)]
pub struct Quarantined {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong.
    pub damage: Damage,
}

// === impl Files ===

impl Files {
    /// Opens or makes a state directory and loads the index. Damaged files are moved to `corrupt/`. What is in it holds
    /// Secrets: it becomes its owner's alone.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open, [`StoreError::Io`] when it cannot be used, or one of the works
    /// cannot be read at the moment.
    pub fn open(dir: &Path) -> Result<OpenedFiles, StoreError> {
        let works = dir.join("works");
        let corrupt = dir.join("corrupt");
        for dir in [&works, &corrupt] {
            private::create_dir_all(dir).map_err(io_error("create directory", dir))?;
        }
        let lock_path = dir.join("lock");
        let lock = private::write_options()
            .open(&lock_path)
            .map_err(io_error("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Locked(dir.into())),
            Err(fs::TryLockError::Error(source)) => {
                return Err(io_error("lock", &lock_path)(source));
            }
        }
        disk::remove_temps(dir).map_err(io_error("list directory", dir))?;
        for dir in [dir, &works, &corrupt] {
            modes::tighten("the agent's state", modes::with_files(dir));
        }
        let (memory, tombstones) = Memory::open(dir);
        let store = Self {
            sequence: Mutex::new(Sequence::after(read_ceiling(dir)?)),
            memory,
            dir: dir.into(),
            works,
            corrupt,
            index: WorkIndex::default(),
            writing: Mutex::default(),
            _lock: lock,
        };
        store.index.recall(tombstones);
        let quarantined = store.load()?;
        let works = store.index.ids().len();
        Ok(OpenedFiles {
            store,
            works,
            quarantined,
        })
    }

    /// Makes works durable, all of them or none that a caller may acknowledge. One id at most once per call.
    ///
    /// # Errors
    /// [`StoreError::Io`]; some of the works may be on disk already, which a repetition does not mind.
    pub fn commit(&self, works: &[Work]) -> Result<(), StoreError> {
        let mut drafts = Drafts::default();
        for work in works {
            drafts
                .write(&self.works, &[&file::header_line(work), &work.payload])
                .map_err(io_error("write work to", &self.works))?;
        }
        sync_all(&drafts.files()).map_err(io_error("sync works in", &self.works))?;
        for (number, work) in works.iter().enumerate() {
            let path = self.path(&work.head.id, WORK);
            drafts
                .place(number, &path)
                .map_err(io_error("put in place", &path))?;
        }
        sync_directory(&self.works).map_err(io_error("sync directory", &self.works))?;
        let _writing = self.writing();
        for work in works {
            self.index.put(&work.head);
        }
        Ok(())
    }

    /// Reads a work with its payload. A damaged file is moved aside, reported, and a resync is asked for, as it is for one
    /// that somebody took away.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be read, which says nothing of its content, or a damaged file cannot be moved.
    pub fn read(&self, id: &WorkId) -> Result<Option<Work>, StoreError> {
        if self.index.entry(id).is_none() {
            return Ok(None);
        }
        let path = self.path(id, WORK);
        match file::read_work(&path) {
            Ok(work) => Ok(Some(work)),
            // A commit or a removal may have come between.
            Err(_) if self.index.entry(id).is_none() => Ok(None),
            Err(_) => match file::read_work(&path) {
                Ok(work) => Ok(Some(work)),
                Err(Unread::Io(error)) if error.kind() != io::ErrorKind::NotFound => {
                    Err(io_error("read work", &path)(error))
                }
                Err(unread) => {
                    match unread {
                        Unread::Damaged(damage) => drop(self.quarantine(&path, damage)?),
                        Unread::Io(_) => {
                            warn!(resource.id = %id, "The file of work `{id}` is gone; its source is asked for it again");
                        }
                    }
                    self.index.remove(id);
                    self.index.want_resync();
                    Ok(None)
                }
            },
        }
    }

    /// Reads the small half of a work; `None` when it is not held or damaged, which `Store::read` deals with.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn head(&self, id: &WorkId) -> Result<Option<Head>, StoreError> {
        if self.index.entry(id).is_none() {
            return Ok(None);
        }
        match file::read_head(&self.path(id, WORK)) {
            Ok(head) => Ok(Some(head)),
            Err(_) => Ok(self.read(id)?.map(|work| work.head)),
        }
    }

    /// The newest status of a work. A damaged record is as good as none: the status is judged and sent again.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be read.
    pub fn status(&self, id: &WorkId) -> Result<Option<StatusRecord>, StoreError> {
        let path = self.path(id, STATUS);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read status record", &path)(error)),
        };
        let record = serde_json::from_slice(&bytes).inspect_err(|error| {
            // Not what it says: a message may quote an object.
            let (line, column) = (error.line(), error.column());
            warn!(resource.id = %id, line, column, "Ignored the damaged status record of work `{id}`");
        });
        Ok(record.ok())
    }

    /// Keeps a new status, unless the work was removed or committed again since `epoch`. Returns whether it did.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be written.
    pub fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: &StatusRecord,
    ) -> Result<bool, StoreError> {
        let _writing = self.writing();
        if self
            .index
            .entry(id)
            .is_none_or(|entry| entry.epoch != epoch)
        {
            return Ok(false);
        }
        self.write_status(id, record)?;
        self.index.put_status(id, record);
        Ok(true)
    }

    /// Notes that the broker took the status with this hash. A newer status stays unacknowledged.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be written; the status would be sent once more after a restart.
    pub fn acknowledge(&self, id: &WorkId, record: &StatusRecord) -> Result<(), StoreError> {
        let _writing = self.writing();
        let Some(entry) = self.index.entry(id) else {
            return Ok(());
        };
        let newest = entry.status_hash.as_deref() == Some(record.hash.as_str())
            && entry.status_version == record.version;
        if !newest || entry.acknowledged {
            return Ok(());
        }
        let record = StatusRecord {
            acknowledged: true,
            ..record.clone()
        };
        self.index.put_status(id, &record);
        self.write_status(id, &record)
    }

    /// Forgets a deleting work whose deletion was acknowledged, and remembers that. Other works are left alone.
    ///
    /// # Errors
    /// [`StoreError::Io`] when its file cannot be removed; it is then still held.
    pub fn remove(&self, id: &WorkId) -> Result<(), StoreError> {
        let _writing = self.writing();
        let Some(entry) = self.index.entry(id).filter(|entry| entry.deleting) else {
            return Ok(());
        };
        match file::read_head(&self.path(id, WORK)) {
            Ok(head) => {
                if let Some(line) = self.index.note_deletion(&head, entry.created.as_deref()) {
                    self.memory.note(&line, || self.index.tombstones());
                }
            }
            // It has gone in an attempt before this one, or is damaged.
            Err(Unread::Damaged(_)) => {}
            Err(Unread::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(Unread::Io(error)) => {
                return Err(io_error("read work", &self.path(id, WORK))(error));
            }
        }
        // Status first: a crash in between leaves a deleting work, which is acknowledged once more.
        for suffix in [STATUS, WORK] {
            let path = self.path(id, suffix);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &path)(error));
                }
                _ => {}
            }
        }
        // Asked now, because the source may have spoken while the files went.
        let last = self.index.remove(id);
        if last.is_some_and(|entry| entry.refused_while_deleting) {
            self.index.want_resync();
        }
        Ok(())
    }

    /// A sequence id greater than every one before it, over restarts too.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the ceiling cannot be written.
    pub fn next_sequence(&self, now: Timestamp) -> Result<SequenceId, StoreError> {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let next = sequence.next(now);
        if let Some(ceiling) = next.ceiling {
            let path = self.dir.join(SEQUENCE);
            write_atomic(&self.dir, &path, format!("{ceiling}\n").as_bytes(), true)
                .map_err(io_error("write the sequence ceiling", &path))?;
            sync_directory(&self.dir).map_err(io_error("sync directory", &self.dir))?;
            sequence.raise(ceiling);
        }
        Ok(next.id)
    }

    fn load(&self) -> Result<Vec<Quarantined>, StoreError> {
        let mut quarantined = Vec::new();
        let listing = fs::read_dir(&self.works).map_err(io_error("list directory", &self.works))?;
        for file in listing {
            let path = file
                .map_err(io_error("list directory", &self.works))?
                .path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(TEMP_PREFIX) {
                // A crash before the rename: the event was not acked and comes again.
                drop(fs::remove_file(&path));
                continue;
            }
            if path.extension().is_none_or(|extension| extension != WORK) {
                continue;
            }
            let head = file::read_head(&path).and_then(|head| {
                if self.path(&head.id, WORK) == path {
                    Ok(head)
                } else {
                    Err(Damage::Name(head.id.to_string()).into())
                }
            });
            match head {
                Ok(head) => {
                    let record = self.status(&head.id)?;
                    self.index.put(&head);
                    if let Some(record) = &record {
                        self.index.put_status(&head.id, record);
                    }
                }
                Err(Unread::Damaged(damage)) => quarantined.push(self.quarantine(&path, damage)?),
                Err(Unread::Io(error)) => return Err(io_error("read work", &path)(error)),
            }
        }
        Ok(quarantined)
    }

    fn quarantine(&self, path: &Path, damage: Damage) -> Result<Quarantined, StoreError> {
        let name = path.file_name().unwrap_or_default();
        let aside = self.corrupt.join(name);
        fs::rename(path, &aside).map_err(io_error("move aside", path))?;
        error!(
            path = %aside.display(),
            reason = %link::error::chain(&damage),
            "Moved damaged work file `{}` aside; the next resync brings the work back",
            name.to_string_lossy()
        );
        Ok(Quarantined {
            path: aside,
            damage,
        })
    }

    fn write_status(&self, id: &WorkId, record: &StatusRecord) -> Result<(), StoreError> {
        let path = self.path(id, STATUS);
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        // Not synced: a status lost in a power cut is judged again.
        write_atomic(&self.works, &path, &bytes, false)
            .map_err(io_error("write status record", &path))
    }

    fn path(&self, id: &WorkId, suffix: &str) -> PathBuf {
        self.works
            .join(format!("{}.{suffix}", safe_name(id.as_str())))
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// A damaged file is as good as none. One that cannot be read may hold a ceiling far above the clock.
fn read_ceiling(dir: &Path) -> Result<Option<SequenceId>, StoreError> {
    let path = dir.join(SEQUENCE);
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read the sequence ceiling", &path)(error)),
    }
}

const WORK: &str = "work";
const STATUS: &str = "status";
const SEQUENCE: &str = "sequence";
#[cfg(test)]
mod tests;
