//! The strategies that read first: `Update` merges into what is there, `CreateOnly` leaves it alone.

use serde_json::Value;

use super::{Done, Failure, Task, Wrote, hash};
use crate::applier::kubernetes::server::{ATTEMPTS, is_conflict};
use crate::applier::kubernetes::{owners, update};

impl Task<'_> {
    pub(super) async fn update(&self) -> Result<Done, Failure> {
        let server = &self.inner.server;
        let hash = hash(&self.manifest);
        let mut attempt = 1;
        loop {
            let live = server.get(&self.path).await?;
            let (written, changed) = match &live {
                None => (
                    server.create(&self.path, &self.owned_manifest()).await,
                    true,
                ),
                Some(live) => {
                    let merged = self.merged(live);
                    if merged == *live || self.is_written(live, hash) {
                        (Ok(live.clone()), false)
                    } else {
                        (server.replace(&self.path, &merged).await, true)
                    }
                }
            };
            match written {
                Err(error) if is_conflict(&error) && attempt < ATTEMPTS => attempt += 1,
                written => {
                    let object = written?;
                    let differs = |live: &Value| update::changed(live, &object);
                    let changed = changed && live.as_ref().is_none_or(differs);
                    return Ok(Done {
                        object: Some(object),
                        wrote: Wrote::Put { hash, changed },
                    });
                }
            }
        }
    }

    pub(super) async fn create_only(&self) -> Result<Done, Failure> {
        let server = &self.inner.server;
        let mut attempt = 1;
        loop {
            // Known to be there: reading it costs less than being refused and then reading it.
            let exists = attempt > 1 || self.access.exists();
            if exists && let Some(live) = server.get(&self.path).await? {
                return self.own(live).await;
            }
            match server.create(&self.path, &self.owned_manifest()).await {
                Err(error) if is_conflict(&error) && attempt < ATTEMPTS => attempt += 1,
                created => {
                    return Ok(Done {
                        object: Some(created?),
                        wrote: Wrote::Something,
                    });
                }
            }
        }
    }

    fn merged(&self, live: &Value) -> Value {
        let mut merged = update::merge(&self.manifest, live);
        let before = owners::of(live);
        let all = self.owners(before.clone());
        if all.len() > before.len() {
            owners::set(&mut merged, &all);
        }
        merged
    }

    // The object is as our last `PUT` of this manifest left it, with what the server filled in.
    fn is_written(&self, live: &Value, hash: u64) -> bool {
        let owners = owners::of(live);
        let owned = self.owners(owners.clone()).len() == owners.len();
        let revision = live["metadata"]["resourceVersion"].as_str();
        owned
            && self.access.written().is_some_and(|(at, written)| {
                written == hash && revision.is_some_and(|revision| at == revision.into())
            })
    }

    fn owned_manifest(&self) -> Value {
        let mut manifest = self.manifest.clone();
        owners::set(&mut manifest, &self.owners(Vec::new()));
        manifest
    }
}
