//! Learning at the start what the works hold: from every AppliedManifestWork that is ours or adopted. Those of other
//! agents are noted too.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::Error;
use kube::api::{ListParams, ObjectList, Request};
use link::bundle::manifest::ObjectRef;
use tracing::{info, warn};

use super::applied_work::{AppliedWork, Lifecycle};
use super::intent_record::IntentRecord;
use crate::applier::HeldObject;
use crate::applier::kubernetes::Inner;
use crate::applier::kubernetes::owners::{GROUP, KIND, VERSION};
use crate::applier::kubernetes::resource::Resource;
use crate::applier::kubernetes::server::within;
use crate::applier::ownership::{Record, Share};
use crate::crd::{AppliedManifestWork, AppliedResource, CLAIMS};
use crate::work_id::WorkId;

impl Inner {
    /// Reads all records.
    pub(in crate::applier::kubernetes) async fn load(&self) -> Result<(), Error> {
        let mut params = ListParams::default().limit(PAGE);
        let mut found: HashMap<WorkId, Vec<(AppliedWork, Record)>> = HashMap::new();
        loop {
            let request = Request::new(resource().path(None)).list(&params);
            let request = request.map_err(Error::BuildRequest)?;
            let client = self.server.client();
            let page: ObjectList<AppliedManifestWork> = within(client.request(request)).await?;
            for work in page.items {
                if self.is_ours(&work.spec.agent_id) {
                    let (owner, record) = self.record(&work);
                    let applied_work = AppliedWork::of(&work, self.agent_id.as_str());
                    found.entry(owner).or_default().push((applied_work, record));
                } else {
                    self.note_foreign(&work.metadata);
                }
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                break;
            }
        }
        info!(works = found.len(), "Read what the works hold");
        for (owner, applied_works) in found {
            self.take(&owner, applied_works);
        }
        Ok(())
    }

    // One of this agent that is not terminating is preferred; the objects of all others are handed over to it.
    fn take(&self, owner: &WorkId, mut applied_works: Vec<(AppliedWork, Record)>) {
        applied_works.sort_by_key(|(applied_work, _)| {
            (
                applied_work.lifecycle != Lifecycle::Active,
                applied_work.adopted,
            )
        });
        let mut all = Record {
            owner: Some(owner.clone()),
            objects: Vec::new(),
        };
        let mut first: Option<AppliedWork> = None;
        for (applied_work, record) in applied_works {
            for share in record.objects {
                all.add(share);
            }
            match &mut first {
                None => first = Some(applied_work),
                Some(first) => first.retiring.push(applied_work.reference()),
            }
        }
        for share in &all.objects {
            let object = share.held.object();
            if let Some(resource) = self.discovery.serving(&object) {
                self.index.hold(&resource, &object, owner);
            }
        }
        {
            let mut claims = self.claims();
            let secrets = all
                .objects
                .iter()
                .filter(|share| share.held.kind == "Secret");
            let secrets: HashSet<String> = secrets.map(|share| share.key.clone()).collect();
            if !secrets.is_empty() {
                claims.secrets.insert(owner.clone(), secrets);
            }
            claims.ownership.take(all);
        }
        if let Some(first) = first {
            for retiring in &first.retiring {
                self.index.ours(&retiring.uid, true);
            }
            self.keep(owner, first);
        }
    }

    fn record(&self, work: &AppliedManifestWork) -> (WorkId, Record) {
        let name = work.metadata.name.as_deref().unwrap_or_default();
        let annotations = work.metadata.annotations.as_ref();
        let annotated = annotations.and_then(|annotations| annotations.get(CLAIMS));
        let mut record = annotated
            .and_then(|text| {
                IntentRecord::read(text)
                    .inspect_err(|error| {
                        warn!(name, %error, "Ignored a damaged claim of AppliedManifestWork {name}");
                    })
                    .ok()
            })
            .unwrap_or_default();
        let owner = record
            .owner
            .clone()
            .unwrap_or_else(|| work.spec.manifest_work_name.as_str().into());
        let mut canonical = Record {
            owner: record.owner,
            objects: Vec::with_capacity(record.objects.len()),
        };
        for share in &record.objects {
            canonical.add(self.canonical_share(share));
        }
        record = canonical;
        let status = work.status.iter();
        for applied in status.flat_map(|status| &status.applied_resources) {
            self.add(&mut record, applied);
        }
        (owner, record)
    }

    // What a status lists gives the uids, and what a Go agent held.
    fn add(&self, record: &mut Record, applied: &AppliedResource) {
        let AppliedResource {
            group,
            version,
            resource,
            namespace,
            name,
            uid,
        } = applied;
        // A kind that is gone took its objects along.
        let Some(kind) = self.discovery.by_plural(group, version, resource) else {
            return;
        };
        let object = self.canonical(&ObjectRef {
            group: kind.group.clone(),
            version: kind.version.clone(),
            kind: kind.kind.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
        });
        let key = self.key(&object);
        let uid = Some(uid.clone()).filter(|uid| !uid.is_empty());
        match record.objects.iter_mut().find(|share| share.key == key) {
            Some(known) => known.held.uid = uid,
            None => record.objects.push(Share {
                key,
                held: HeldObject {
                    uid,
                    ..HeldObject::from(&object)
                },
                content: None,
                since: 0,
            }),
        }
    }
}

/// The kind of AppliedManifestWorks.
pub(in crate::applier::kubernetes) fn resource() -> Arc<Resource> {
    Arc::new(Resource {
        group: GROUP.into(),
        version: VERSION.into(),
        kind: KIND.into(),
        plural: "appliedmanifestworks".into(),
        namespaced: false,
        watchable: true,
    })
}

// Each may carry a claim of up to 256 KiB.
const PAGE: u32 = 50;
