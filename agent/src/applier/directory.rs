//! The directory applier: one YAML file per object, `<namespace or _cluster>/<kind.group>/<name>.yaml`.
//!
//! A file equals its manifest and carries nothing of ours; ownership lies in the state directory. Files are
//! replaced as a whole, an unchanged one is not rewritten, and a sweep compares time and size to notice what
//! somebody else changed or removed. Symbolic links below the root are not followed. `ServerSideApply` is `Update` here: a file has no field managers, and a
//! directory has no accounts: an executor is refused.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::bundle::manifest::ObjectRef;
use link::error::Hint;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tracing::info;

use super::{
    Applied, Applier, ApplierError, ApplierErrorKind, Change, Claim, Desired, HeldObject, Release,
    Released, Strategy,
};
use crate::applier::ownership::{Claimed, Ownership, Settlement, Standing};
use crate::blocking::blocking;
use crate::disk::{modes, safe_name};
use crate::work_id::WorkId;
use records::Records;
use root::{FileStamp, Root};

mod records;
mod root;
mod yaml;

/// Applies manifests to a directory; clones share it.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root_dir: Root,
    sweep: Duration,
    records: Records,
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug)]
struct State {
    ownership: Ownership,
    // What a file looked like when we last had it right, by key.
    seen: HashMap<String, FileStamp>,
    // Works to look at again; at most as many as there are works.
    wake: BTreeSet<WorkId>,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{operation} `{path}`")]
pub struct DirectoryError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Hint for DirectoryError {
    fn hint(&self) -> Option<String> {
        Some("check that the directory exists on a volume this process may write".into())
    }
}

// === impl Directory ===

impl Directory {
    /// Opens a directory, makes it when missing, and removes what an interrupted write left. `records` is where
    /// ownership is kept, `sweep` how often files are compared with what was written. Manifests hold Secrets: what is held
    /// becomes its owner's alone.
    ///
    /// # Errors
    /// When one of the directories cannot be used.
    pub fn open(root: &Path, records: &Path, sweep: Duration) -> Result<Self, DirectoryError> {
        let failed = |operation, path: &Path| {
            let path = path.to_path_buf();
            move |source| DirectoryError {
                operation,
                path,
                source,
            }
        };
        let root_dir = Root::open(root).map_err(failed("open directory", root))?;
        let (records, ownership) =
            Records::open(records).map_err(failed("read ownership records in", records))?;
        let held: BTreeSet<PathBuf> = ownership
            .keys()
            .flat_map(|key| root_dir.chain(key))
            .chain([root.to_path_buf()])
            .collect();
        modes::tighten("what is applied", held);
        Ok(Self(Arc::new(Inner {
            root_dir,
            sweep,
            records,
            state: Mutex::new(State {
                ownership,
                seen: HashMap::new(),
                wake: BTreeSet::new(),
            }),
            woken: Notify::new(),
        })))
    }

    /// The file of an object.
    pub fn path(&self, object: &ObjectRef) -> PathBuf {
        self.0.root_dir.path(&key(object))
    }

    /// Compares every held file's time and size with what was written; returns the works that hold one that
    /// differs or is missing.
    pub fn sweep(&self) -> Vec<WorkId> {
        let seen = self.0.state().seen.clone();
        let differing: Vec<String> = seen
            .into_iter()
            .filter(|(key, seen)| self.0.root_dir.stamp(key) != Some(*seen))
            .map(|(key, _)| key)
            .collect();
        let mut state = self.0.state();
        let mut works = BTreeSet::new();
        for key in differing {
            info!(
                file = key,
                "Noticed that a held file was changed or removed"
            );
            state.seen.remove(&key);
            works.extend(state.ownership.owners(&key).iter().cloned());
        }
        works.into_iter().collect()
    }
}

impl Applier for Directory {
    async fn claim(
        &self,
        owner: &WorkId,
        declared: &[Claim],
    ) -> Result<Vec<HeldObject>, ApplierError> {
        let (inner, owner, declared) = (Arc::clone(&self.0), owner.clone(), declared.to_vec());
        blocking(move || {
            let keyed: Vec<(String, Claim)> = declared
                .into_iter()
                .map(|claim| (key(&claim.object), claim))
                .collect();
            inner.with_wake(|state, wake| {
                let Claimed {
                    record,
                    grown,
                    stale,
                    affected,
                } = state.ownership.claim(&owner, &keyed);
                if let Some(record) = record {
                    inner
                        .records
                        .write(&owner, &record, grown)
                        .map_err(|error| unavailable("record ownership", &owner, &error))?;
                    state.ownership.take(record);
                }
                wake.extend(affected);
                Ok(stale)
            })
        })
        .await
    }

    async fn apply(&self, owner: &WorkId, desired: Desired<'_>) -> Result<Applied, ApplierError> {
        if let Some(account) = desired.executor {
            return Err(ApplierError {
                kind: ApplierErrorKind::Invalid,
                message: format!(
                    "a directory has no accounts, so {} cannot be applied as {}/{}; hint: leave `executer` away",
                    desired.object, account.namespace, account.name
                ),
            });
        }
        let (inner, owner) = (Arc::clone(&self.0), owner.clone());
        let (manifest, object) = (desired.manifest.clone(), desired.object.clone());
        let strategy = desired.strategy.clone();
        blocking(move || inner.apply(&owner, manifest, &object, &strategy)).await
    }

    async fn observe(&self, object: &ObjectRef) -> Result<Option<Value>, ApplierError> {
        let (inner, object) = (Arc::clone(&self.0), object.clone());
        blocking(move || inner.read(&object)).await
    }

    async fn release(
        &self,
        owner: &WorkId,
        held: &HeldObject,
        mode: Release,
    ) -> Result<Released, ApplierError> {
        let (inner, owner, object) = (Arc::clone(&self.0), owner.clone(), held.object());
        blocking(move || inner.release(&owner, &object, mode)).await
    }

    async fn settle(&self, owner: &WorkId) -> Result<(), ApplierError> {
        let (inner, owner) = (Arc::clone(&self.0), owner.clone());
        blocking(move || {
            let mut state = inner.state();
            match state.ownership.settlement(&owner) {
                Settlement::Nothing => return Ok(()),
                Settlement::Write(record) => inner.records.write(&owner, &record, false),
                Settlement::Forget => inner.records.forget(&owner),
            }
            .map_err(|error| unavailable("record ownership", &owner, &error))?;
            state.ownership.settled(&owner);
            Ok(())
        })
        .await
    }

    fn owns(&self, owner: &WorkId) -> bool {
        self.0.state().ownership.record(owner).is_some()
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        let mut ticks = tokio::time::interval(self.0.sweep);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let works = tokio::select! {
                () = self.0.woken.notified() => {
                    std::mem::take(&mut self.0.state().wake).into_iter().collect()
                }
                _ = ticks.tick() => {
                    let this = self.clone();
                    blocking(move || this.sweep()).await
                }
            };
            if !works.is_empty() && changes.send(Change::Works(works)).await.is_err() {
                return;
            }
        }
    }
}

// === impl Inner ===

impl Inner {
    fn apply(
        &self,
        owner: &WorkId,
        manifest: Value,
        object: &ObjectRef,
        strategy: &Strategy,
    ) -> Result<Applied, ApplierError> {
        let key = key(object);
        match strategy {
            Strategy::ReadOnly => return Ok(Applied::default()),
            Strategy::CreateOnly => {
                let there = self.root_dir.exists(&key);
                if there.map_err(|error| unavailable("look for", object, &error))? {
                    return Ok(Applied::default());
                }
            }
            _ => {}
        }
        // The lock spans decision and write: otherwise a releasing co-owner could remove what is written now.
        let mut state = self.state();
        if let Standing::Loses(leader) = state.ownership.standing(owner, &key) {
            return Err(ApplierError {
                message: format!(
                    "{object} is held by work `{leader}`, which declares other content; hint: \
                     declare it in one work only or with the same content in both"
                ),
                kind: ApplierErrorKind::Conflict {
                    owner: leader.to_string(),
                },
            });
        }
        let bytes = yaml::render(&manifest).map_err(|problem| ApplierError {
            kind: ApplierErrorKind::Invalid,
            message: format!("{object} cannot be written as YAML: {problem}"),
        })?;
        // Size first: a file that differs in length need not be read.
        let unchanged = self
            .root_dir
            .stamp(&key)
            .is_some_and(|stamp| stamp.bytes == bytes.len() as u64)
            && matches!(self.root_dir.read(&key), Ok(Some(found)) if found == bytes.as_bytes());
        if !unchanged {
            self.root_dir
                .write(&key, bytes.as_bytes())
                .map_err(|error| unavailable("write", object, &error))?;
        }
        if let Some(stamp) = self.root_dir.stamp(&key) {
            state.seen.insert(key, stamp);
        }
        Ok(Applied {
            changed: !unchanged,
            observed: Some(manifest),
            fingerprint: None,
        })
    }

    fn release(
        &self,
        owner: &WorkId,
        object: &ObjectRef,
        mode: Release,
    ) -> Result<Released, ApplierError> {
        let key = key(object);
        self.with_wake(|state, wake| {
            if !state.ownership.holds(owner, &key) {
                return Ok(Released::Left);
            }
            let alone = state.ownership.owners(&key) == std::slice::from_ref(owner);
            let remove = mode == Release::Remove && alone;
            if remove {
                self.root_dir
                    .remove(&key)
                    .map_err(|error| unavailable("remove", object, &error))?;
            }
            if alone {
                state.seen.remove(&key);
            }
            wake.extend(state.ownership.release(owner, &key));
            Ok(if remove {
                Released::Gone
            } else {
                Released::Left
            })
        })
    }

    fn read(&self, object: &ObjectRef) -> Result<Option<Value>, ApplierError> {
        let bytes = match self.root_dir.read(&key(object)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) => return Err(unavailable("read", object, &error)),
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| error.to_string());
        let manifest = text.and_then(yaml::parse);
        manifest.map(Some).map_err(|problem| ApplierError {
            kind: ApplierErrorKind::Invalid,
            message: format!("{object} is not valid YAML: {problem}"),
        })
    }

    fn with_wake<T>(&self, act: impl FnOnce(&mut State, &mut BTreeSet<WorkId>) -> T) -> T {
        let mut wake = BTreeSet::new();
        let mut state = self.state();
        let result = act(&mut state, &mut wake);
        if !wake.is_empty() {
            state.wake.extend(wake);
            self.woken.notify_one();
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Relative path and identity of an object. The version is no part of it: `v1` and `v1beta1` are one object.
fn key(object: &ObjectRef) -> String {
    let namespace = if object.namespace.is_empty() {
        CLUSTER.into()
    } else {
        safe_name(&object.namespace)
    };
    let (kind, name) = (safe_name(&object.kind_group()), safe_name(&object.name));
    format!("{namespace}/{kind}/{name}.yaml")
}

fn unavailable(operation: &str, what: &dyn std::fmt::Display, error: &io::Error) -> ApplierError {
    ApplierError {
        kind: ApplierErrorKind::Unavailable,
        message: format!("could not {operation} {what}: {error}"),
    }
}

// A namespace cannot get this name: a leading underscore is percent-encoded.
const CLUSTER: &str = "_cluster";

#[cfg(test)]
mod tests;
