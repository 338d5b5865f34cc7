//! The durable set of works: `works/<name>.work` holds what was ordered, `works/<name>.status` what was reported.
//!
//! Measured choice: one file per work and group commit (write all, sync in parallel, rename all, sync the
//! directory once) instead of a journal, because a person can look at it and a damaged file costs one work only.

// Long because the store is one state under one lock.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use link::bundle::resync::HeldVersion;
use link::order::{SequenceId, Version};
use tokio::sync::Notify;
use tracing::{error, warn};

use super::error::{Error, io_error};
use super::file::{self, Damage, TEMP_PREFIX, safe_name, write_atomic, write_temp};
use super::sequence::Sequence;
use super::sync::{sync_all, sync_directory};
use super::{Entry, Head, StatusRecord, Work, WorkId};

/// The store. Its methods block on the file system; call them from a blocking thread where latency matters.
#[derive(Debug)]
pub struct Store {
    works: PathBuf,
    corrupt: PathBuf,
    index: Mutex<Index>,
    sequence: Mutex<Sequence>,
    resync_wanted: Notify,
    _lock: File,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
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

#[derive(Debug, Default)]
struct Index {
    entries: BTreeMap<WorkId, Entry>,
    epoch: u64,
}

// === impl Store ===

impl Store {
    /// Opens or makes a state directory and loads the index. Damaged files are moved to `corrupt/`.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Io`] when it cannot be used.
    pub fn open(dir: &Path) -> Result<Opened, Error> {
        let works = dir.join("works");
        let corrupt = dir.join("corrupt");
        for dir in [&works, &corrupt] {
            fs::create_dir_all(dir).map_err(io_error("create directory", dir))?;
        }
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(io_error("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::Locked(dir.into())),
            Err(fs::TryLockError::Error(source)) => {
                return Err(io_error("lock", &lock_path)(source));
            }
        }
        let store = Self {
            sequence: Mutex::new(Sequence::open(dir)),
            works,
            corrupt,
            index: Mutex::default(),
            resync_wanted: Notify::new(),
            _lock: lock,
        };
        let quarantined = store.load()?;
        let works = store.index().entries.len();
        Ok(Opened {
            store,
            works,
            quarantined,
        })
    }

    /// What memory keeps of a work.
    pub fn entry(&self, id: &WorkId) -> Option<Entry> {
        self.index().entries.get(id).cloned()
    }

    /// Every work, in order of id.
    pub fn entries(&self) -> Vec<(WorkId, Entry)> {
        let index = self.index();
        index
            .entries
            .iter()
            .map(|(id, entry)| (id.clone(), entry.clone()))
            .collect()
    }

    /// How many works there are, and how many of their newest statuses are not acknowledged.
    pub fn counts(&self) -> (i64, i64) {
        let index = self.index();
        let unacknowledged = index
            .entries
            .values()
            .filter(|entry| !entry.acknowledged)
            .count();
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        (number(index.entries.len()), number(unacknowledged))
    }

    /// The answer to "what do you hold?" (wire.md §3.3).
    pub fn held_versions(&self) -> Vec<HeldVersion> {
        let index = self.index();
        index
            .entries
            .iter()
            .map(|(id, entry)| HeldVersion {
                resource_id: id.as_str().into(),
                resource_version: entry.version,
            })
            .collect()
    }

    /// Makes works durable, all of them or none that a caller may acknowledge. One id at most once per call.
    ///
    /// # Errors
    /// [`Error::Io`]; some of the works may be on disk already, which a repetition does not mind.
    pub fn commit(&self, works: &[Work]) -> Result<(), Error> {
        let written: Vec<(PathBuf, File)> = works
            .iter()
            .map(|work| {
                write_temp(&self.works, &[&file::header_line(work), &work.payload])
                    .map_err(io_error("write work to", &self.works))
            })
            .collect::<Result<_, _>>()?;
        let files: Vec<&File> = written.iter().map(|(_, file)| file).collect();
        sync_all(&files).map_err(io_error("sync works in", &self.works))?;
        for ((temp, _), work) in written.iter().zip(works) {
            let path = self.path(&work.head.id, WORK);
            fs::rename(temp, &path).map_err(io_error("put in place", &path))?;
        }
        sync_directory(&self.works)?;
        let mut index = self.index();
        for work in works {
            index.put(work);
        }
        Ok(())
    }

    /// Reads a work with its payload. A damaged file is moved aside, reported, and a resync is asked for.
    ///
    /// # Errors
    /// [`Error::Io`] when a damaged file cannot be moved.
    pub fn read(&self, id: &WorkId) -> Result<Option<Work>, Error> {
        if self.entry(id).is_none() {
            return Ok(None);
        }
        let path = self.path(id, WORK);
        match file::read_work(&path) {
            Ok(work) => Ok(Some(work)),
            Err(damage) => {
                // A commit or a removal may have come between.
                if self.entry(id).is_some() && file::read_work(&path).is_err() {
                    self.quarantine(&path, damage)?;
                    self.index().entries.remove(id);
                    self.resync_wanted.notify_one();
                }
                Ok(None)
            }
        }
    }

    /// Reads the small half of a work; `None` when it is not held or damaged, which [`Store::read`] deals with.
    ///
    /// # Errors
    /// [`Error::Io`] when a damaged file cannot be moved.
    pub fn head(&self, id: &WorkId) -> Result<Option<Head>, Error> {
        if self.entry(id).is_none() {
            return Ok(None);
        }
        match file::read_head(&self.path(id, WORK)) {
            Ok(head) => Ok(Some(head)),
            Err(_) => Ok(self.read(id)?.map(|work| work.head)),
        }
    }

    /// The newest status of a work. A damaged record is as good as none: the status is judged and sent again.
    pub fn status(&self, id: &WorkId) -> Option<StatusRecord> {
        let bytes = fs::read(self.path(id, STATUS)).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(|error| {
                warn!(resource.id = %id, error = %error, "Ignored the damaged status record of work `{id}`");
            })
            .ok()
    }

    /// Keeps a new status, unless the work was removed or committed again since `epoch`. Returns whether it did.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: &StatusRecord,
    ) -> Result<bool, Error> {
        // The lock is held over the small write so that a removal cannot come between check and file.
        let mut index = self.index();
        let Some(entry) = index
            .entries
            .get_mut(id)
            .filter(|entry| entry.epoch == epoch)
        else {
            return Ok(false);
        };
        self.write_status(id, record)?;
        entry.status_hash = Some(record.hash.as_str().into());
        entry.status_version = record.version;
        entry.acknowledged = record.acknowledged;
        Ok(true)
    }

    /// Notes that the broker took the status with this hash. A newer status stays unacknowledged.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written; the status would be sent once more after a restart.
    pub fn acknowledge(&self, id: &WorkId, record: &StatusRecord) -> Result<(), Error> {
        let mut index = self.index();
        let Some(entry) = index.entries.get_mut(id) else {
            return Ok(());
        };
        let newest = entry.status_hash.as_deref() == Some(record.hash.as_str())
            && entry.status_version == record.version;
        if !newest || entry.acknowledged {
            return Ok(());
        }
        entry.acknowledged = true;
        let record = StatusRecord {
            acknowledged: true,
            ..record.clone()
        };
        self.write_status(id, &record)
    }

    /// Notes that an upsert was refused because the work is being deleted.
    pub fn note_refused_while_deleting(&self, id: &WorkId) {
        if let Some(entry) = self.index().entries.get_mut(id) {
            entry.refused_while_deleting = true;
        }
    }

    /// Forgets a deleting work whose deletion was acknowledged. Other works are left alone.
    ///
    /// # Errors
    /// [`Error::Io`] when its file cannot be removed; it is then still held.
    pub fn remove(&self, id: &WorkId) -> Result<(), Error> {
        let mut index = self.index();
        let Some(entry) = index.entries.get(id).filter(|entry| entry.deleting) else {
            return Ok(());
        };
        let ask_again = entry.refused_while_deleting;
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
        index.entries.remove(id);
        if ask_again {
            self.resync_wanted.notify_one();
        }
        Ok(())
    }

    /// A sequence id greater than every one before it, over restarts too.
    ///
    /// # Errors
    /// [`Error::Io`] when the ceiling cannot be written.
    pub fn next_sequence(&self, now: Timestamp) -> Result<SequenceId, Error> {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        sequence
            .next(now)
            .map_err(io_error("write the sequence ceiling beside", &self.works))
    }

    /// Asks for a resync that is due for a reason outside the store.
    pub fn want_resync(&self) {
        self.resync_wanted.notify_one();
    }

    /// Waits until something was lost or refused here that the source should be asked for, or [`Store::want_resync`].
    pub async fn resync_wanted(&self) {
        self.resync_wanted.notified().await;
    }

    fn load(&self) -> Result<Vec<Quarantined>, Error> {
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
                    Err(Damage::Name(head.id.to_string()))
                }
            });
            match head {
                Ok(head) => {
                    let record = self.status(&head.id);
                    let mut index = self.index();
                    index.epoch += 1;
                    let mut entry = Entry::of(&head, index.epoch);
                    entry.acknowledged = record.as_ref().is_some_and(|r| r.acknowledged);
                    entry.status_version = record
                        .as_ref()
                        .map_or(Version::UNVERSIONED, |record| record.version);
                    entry.status_hash = record.map(|record| record.hash.into());
                    index.entries.insert(head.id, entry);
                }
                Err(damage) => quarantined.push(self.quarantine(&path, damage)?),
            }
        }
        Ok(quarantined)
    }

    fn quarantine(&self, path: &Path, damage: Damage) -> Result<Quarantined, Error> {
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

    fn write_status(&self, id: &WorkId, record: &StatusRecord) -> Result<(), Error> {
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

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Index ===

impl Index {
    fn put(&mut self, work: &Work) {
        self.epoch += 1;
        let mut entry = Entry::of(&work.head, self.epoch);
        if let Some(old) = self.entries.get(&work.head.id) {
            entry.status_hash.clone_from(&old.status_hash);
            entry.status_version = old.status_version;
            entry.acknowledged = old.acknowledged;
            entry.refused_while_deleting = old.refused_while_deleting;
        }
        self.entries.insert(work.head.id.clone(), entry);
    }
}

const WORK: &str = "work";
const STATUS: &str = "status";
#[cfg(test)]
mod tests;
