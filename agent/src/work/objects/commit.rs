//! Writing a version of a work: create or change, and what happens when the cluster refuses it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use link::error::{Hint as _, chain};
use serde_json::Value;
use tracing::warn;

use super::super::{Head, StoreError, Stored, Work, WorkId};
use super::Inner;
use super::record::{self, Content, Unreadable, WorkObject};
use super::remote::optional;
use crate::crd;
use crate::work::refusal::ApiRefusal;
use crate::work_id::object_name;

/// What came of a write.
enum Written {
    Created(ObjectMeta),
    Changed(ObjectMeta),
    /// The spec stayed; this is the object.
    Kept(Box<WorkObject>),
}

// === impl Written ===

impl Written {
    fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Created(metadata) | Self::Changed(metadata) => metadata,
            Self::Kept(object) => &object.metadata,
        }
    }
}

// === impl Inner ===

impl Inner {
    /// Makes a work durable. One that the cluster refuses for a reason of its own (its size, a policy about it) is
    /// kept without its content and with the reason, so that its status can tell; the works behind it go on. Only a
    /// cluster that refuses even that holds them up.
    pub(super) async fn commit(&self, work: &Work) -> Result<(), StoreError> {
        let _lock = self.locks.of(&work.head.id).await;
        let mut refused = match self.hold(work).await {
            Err(error) if concerns_one_object(&error) => error,
            done => return done,
        };
        let Head { id, version, .. } = &work.head;
        let reason = reason(&refused);
        warn!(
            resource.id = %id, reason,
            "The cluster refuses version {version} of work `{id}`; its status says why"
        );
        let announced = Head {
            rejected: Some(reason),
            ..work.head.clone()
        };
        let small = Head {
            metadata: None,
            log_tracing: None,
            ..announced.clone()
        };
        // Each asks less of the cluster than the one before.
        for (head, content) in [
            (&announced, Content::Kept(None)),
            (&small, Content::Kept(None)),
            (&small, Content::Emptied),
        ] {
            match self.put(head, content).await {
                Err(error) if concerns_one_object(&error) => refused = error,
                done => return done.map(drop),
            }
        }
        Err(refused)
    }

    async fn hold(&self, work: &Work) -> Result<(), StoreError> {
        let mut head = work.head.clone();
        if work.is_awaited()
            && let Some(left) = self.left(&head.id).await?
        {
            head = left;
        }
        let spec = record::spec_of(&work.payload).unwrap_or_else(|error| {
            // Intake has checked it; should it be unreadable all the same, it is the source that can mend it.
            let why = format!("the spec is not a manifest bundle: {error}");
            head.rejected.get_or_insert(why);
            None
        });
        // What is deleted or refused is still what was accepted before, and what is awaited what is applied, also where
        // the object is not held at the moment: in it stands how to delete.
        let ends = head.deleting_since.is_some() || head.rejected.is_some();
        let keeps = ends || work.is_awaited();
        let cached = self.cache().get(&head.id).cloned();
        let content = if keeps {
            Content::Kept(spec.as_ref())
        } else {
            Content::Given(spec.as_ref())
        };
        let written = self.put(&head, content).await?;

        // Kept where the next pass finds it without a request, and as it would be read back. Of what was there before
        // only the API server knows what others made of it.
        let record = match (written, cached) {
            (Written::Created(_), _) => None,
            (Written::Changed(_), Some(stored)) if !keeps => stored.record,
            (Written::Changed(_), _) => return Ok(()),
            (Written::Kept(object), _) => {
                let delete_option = object.only_delete_option();
                match object.stored() {
                    Ok(stored) => self.cache().put(stored),
                    // Its source has no other to send: asked for what is lost, it would say the same again and again.
                    Err(Unreadable::Spec(_)) if ends => {
                        let least = Content::Given(delete_option.as_ref());
                        self.put(&head, least).await?;
                    }
                    // The next pass finds out, and has the source asked.
                    Err(_) => {}
                }
                return Ok(());
            }
        };
        let payload = spec.map(record::payload_of).transpose();
        let payload = payload.unwrap_or_default().unwrap_or_default().into();
        let work = Work { head, payload };
        self.cache().put(Stored { work, record });
        Ok(())
    }

    /// Writes a version. What the cache says of the work is void then.
    async fn put(&self, head: &Head, content: Content<'_>) -> Result<Written, StoreError> {
        let written = self.write(head, content).await?;
        self.index.put(head);
        self.note_metadata(&head.id, written.metadata());
        self.cache().remove(&head.id);
        Ok(written)
    }

    /// What the object of a work that is not held says of it, where that can be read: it is ours but for a label that
    /// somebody took away, and its source need not be waited for.
    async fn left(&self, id: &WorkId) -> Result<Option<Head>, StoreError> {
        let metadata = optional(self.works.metadata(&object_name(id)).await)?;
        let ours = metadata.filter(|metadata| self.foreign_owner(metadata).is_none());
        Ok(ours.and_then(|metadata| record::head(&metadata).ok()))
    }

    /// The consumer that an object is labelled for, unless it is this agent's.
    pub(super) fn foreign_owner<'a>(&self, metadata: &'a ObjectMeta) -> Option<&'a String> {
        let consumer = metadata.labels.as_ref()?.get(crd::CONSUMER)?;
        (*consumer != self.consumer.as_str()).then_some(consumer)
    }

    async fn write(&self, head: &Head, content: Content<'_>) -> Result<Written, StoreError> {
        let name = object_name(&head.id);
        let spec = match content {
            Content::Given(spec) | Content::Kept(spec) => spec,
            Content::Emptied => None,
        };
        let create = async || {
            let object = record::created(head, spec, &self.consumer);
            let created = self.works.create(&name, &object).await;
            created.map(Written::Created)
        };
        let held = self.known().contains_key(&head.id);
        if !held {
            match create().await {
                // From before a crash, or one that could not be read.
                Err(error) if is(&error, ApiRefusal::is_already_exists) => {
                    self.restore(head).await?;
                }
                done => return done,
            }
        }
        let steps = record::changed(head, &self.consumer, content);
        let mut changed = self.change(&name, &steps, content).await;
        if held
            && changed
                .as_ref()
                .is_err_and(|error| is(error, ApiRefusal::is_invalid))
        {
            // A step fails when somebody took the annotations away.
            self.restore(head).await?;
            changed = self.change(&name, &steps, content).await;
        }
        match optional(changed)? {
            Some(written) => Ok(written),
            // Somebody took it away altogether.
            None => create().await,
        }
    }

    async fn change(
        &self,
        name: &str,
        steps: &[Value],
        content: Content<'_>,
    ) -> Result<Written, StoreError> {
        match content {
            Content::Kept(_) => {
                let object = self.works.patch_whole(name, steps).await;
                object.map(Box::new).map(Written::Kept)
            }
            Content::Given(_) | Content::Emptied => {
                let metadata = self.works.patch(name, steps).await;
                metadata.map(Written::Changed)
            }
        }
    }

    /// Makes an object that is there, though not as we leave one, ready to be changed.
    async fn restore(&self, head: &Head) -> Result<(), StoreError> {
        let name = object_name(&head.id);
        let Some(metadata) = optional(self.works.metadata(&name).await)? else {
            return Ok(());
        };
        if let Some(consumer) = self.foreign_owner(&metadata) {
            self.foreign.note(&head.id);
            return Err(StoreError::Foreign {
                id: head.id.clone(),
                object: self.works.object(&name),
                consumer: consumer.clone(),
            });
        }
        let restored = record::restored(&metadata, head, &self.consumer);
        optional(self.works.merge(&name, &restored).await).map(drop)
    }
}

fn concerns_one_object(error: &StoreError) -> bool {
    is(error, ApiRefusal::concerns_one_object)
}

fn is(error: &StoreError, such: impl Fn(&ApiRefusal) -> bool) -> bool {
    error.refusal().is_some_and(such)
}

fn reason(error: &StoreError) -> String {
    let Some(refusal) = error.refusal() else {
        return chain(error);
    };
    let text: String = chain(refusal).chars().take(LONGEST_REASON).collect();
    match refusal.hint() {
        Some(hint) => format!("the cluster does not take it: {text}; {hint}"),
        None => format!("the cluster does not take it: {text}"),
    }
}

// A refusal may quote what it refuses.
const LONGEST_REASON: usize = 1_000;
