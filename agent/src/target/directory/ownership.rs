//! Which works hold which object of the directory, and whose content counts.
//!
//! The oldest owner that insists on a content leads. Others co-own the object while they want the same content;
//! one that wants another is told who leads, and takes over when the leader goes. So two works never overwrite
//! each other in turns, and no late-comer can block the first.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::error;

use crate::target::{Claim, Held};
use crate::work::{WorkId, safe_name, write_atomic};

/// All records: by owner on disk, by object in memory.
#[derive(Debug)]
pub(super) struct Ownership {
    dir: PathBuf,
    owners: HashMap<WorkId, Record>,
    objects: HashMap<String, Vec<WorkId>>,
    next: u64,
}

/// What one work holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    owner: Option<WorkId>,
    objects: Vec<Share>,
}

/// One work's share in one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Share {
    key: String,
    #[serde(flatten)]
    held: Held,
    content: Option<String>,
    since: u64,
}

/// Who decides an object's content, seen from one of its owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// This owner's content counts.
    Leads,
    /// The leader wants the same.
    Agrees,
    /// The leader wants something else.
    Loses(WorkId),
}

// === impl Ownership ===

impl Ownership {
    /// Loads every record; a damaged one is reported and skipped: its work claims its objects again.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut this = Self {
            dir: dir.into(),
            owners: HashMap::new(),
            objects: HashMap::new(),
            next: 1,
        };
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                // The rest of an interrupted write.
                drop(fs::remove_file(&path));
                continue;
            }
            let record: Record = match serde_json::from_slice(&fs::read(&path)?) {
                Ok(record) => record,
                Err(error) => {
                    error!(path = %path.display(), %error, "Ignored a damaged ownership record");
                    fs::rename(&path, path.with_extension("corrupt"))?;
                    continue;
                }
            };
            let Some(owner) = record.owner.clone() else {
                continue;
            };
            for share in &record.objects {
                this.next = this.next.max(share.since + 1);
                this.objects
                    .entry(share.key.clone())
                    .or_default()
                    .push(owner.clone());
            }
            this.owners.insert(owner, record);
        }
        Ok(this)
    }

    /// Adds what is declared and answers with what is held besides. The record is on disk before this returns.
    /// `affected` gathers other owners whose standing may have changed.
    pub(super) fn claim(
        &mut self,
        owner: &WorkId,
        declared: &[(String, &Claim)],
        affected: &mut BTreeSet<WorkId>,
    ) -> io::Result<Vec<Held>> {
        let old = self.owners.get(owner).cloned().unwrap_or_default();
        let mut old_shares: HashMap<String, Share> = old
            .objects
            .iter()
            .map(|share| (share.key.clone(), share.clone()))
            .collect();
        let mut record = Record {
            owner: Some(owner.clone()),
            objects: Vec::with_capacity(declared.len()),
        };
        let mut next = self.next;
        let mut changed = Vec::new();
        let mut grown = false;
        for (key, claim) in declared {
            let before = old_shares.remove(key);
            let since = before.as_ref().map_or(next, |share| share.since);
            if before.is_none() {
                next += 1;
                grown = true;
            }
            if before.is_none_or(|share| share.content != claim.content) {
                changed.push(key.clone());
            }
            record.objects.push(Share {
                key: key.clone(),
                held: Held::from(&claim.object),
                content: claim.content.clone(),
                since,
            });
        }
        let mut stale: Vec<Share> = old_shares.into_values().collect();
        stale.sort_by(|a, b| a.key.cmp(&b.key));
        record.objects.extend(stale.iter().cloned());
        if record.objects != old.objects {
            self.write(owner, &record, grown)?;
            self.next = next;
            for share in &record.objects {
                let owners = self.objects.entry(share.key.clone()).or_default();
                if !owners.contains(owner) {
                    owners.push(owner.clone());
                }
            }
            self.owners.insert(owner.clone(), record);
        }
        for key in changed {
            self.others(&key, owner, affected);
        }
        Ok(stale.into_iter().map(|share| share.held).collect())
    }

    /// Whether an owner's content counts for an object.
    pub(super) fn standing(&self, owner: &WorkId, key: &str) -> Standing {
        let Some(mine) = self.share(owner, key) else {
            return Standing::Leads;
        };
        let leader = self
            .objects
            .get(key)
            .into_iter()
            .flatten()
            .filter_map(|work| Some((work, self.share(work, key)?)))
            .filter(|(_, share)| share.content.is_some())
            .min_by_key(|(_, share)| share.since);
        match leader {
            None => Standing::Leads,
            Some((work, _)) if work == owner => Standing::Leads,
            Some((work, share)) if mine.content.is_some() && share.content != mine.content => {
                Standing::Loses(work.clone())
            }
            Some(_) => Standing::Agrees,
        }
    }

    /// Whether the work has a share in the object.
    pub(super) fn holds(&self, owner: &WorkId, key: &str) -> bool {
        self.share(owner, key).is_some()
    }

    /// Everybody with a share in an object.
    pub(super) fn owners(&self, key: &str) -> &[WorkId] {
        self.objects.get(key).map_or(&[], Vec::as_slice)
    }

    /// Drops a share in memory; [`Ownership::settle`] writes it down.
    pub(super) fn release(&mut self, owner: &WorkId, key: &str, affected: &mut BTreeSet<WorkId>) {
        self.others(key, owner, affected);
        if let Some(record) = self.owners.get_mut(owner) {
            record.objects.retain(|share| share.key != key);
        }
        if let Some(owners) = self.objects.get_mut(key) {
            owners.retain(|work| work != owner);
            if owners.is_empty() {
                self.objects.remove(key);
            }
        }
    }

    /// Writes an owner's record down, or removes it when it holds nothing.
    pub(super) fn settle(&mut self, owner: &WorkId) -> io::Result<()> {
        match self.owners.get(owner) {
            Some(record) if !record.objects.is_empty() => self.write(owner, record, false),
            Some(_) => {
                match fs::remove_file(self.path(owner)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                self.owners.remove(owner);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn share(&self, owner: &WorkId, key: &str) -> Option<&Share> {
        let record = self.owners.get(owner)?;
        record.objects.iter().find(|share| share.key == key)
    }

    fn others(&self, key: &str, owner: &WorkId, affected: &mut BTreeSet<WorkId>) {
        let others = self.owners(key).iter().filter(|work| *work != owner);
        affected.extend(others.cloned());
    }

    fn write(&self, owner: &WorkId, record: &Record, durable: bool) -> io::Result<()> {
        let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
        write_atomic(&self.dir, &self.path(owner), &bytes, durable)
    }

    fn path(&self, owner: &WorkId) -> PathBuf {
        self.dir.join(format!("{}.json", safe_name(owner.as_str())))
    }
}
