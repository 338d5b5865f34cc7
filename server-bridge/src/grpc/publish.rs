//! The call `Publish`: an event is validated as REST validates it, stored, and answered once it is committed.
//!
//! **Contract:** a repeated publication does no harm: the same creation, the same update (the same event, as long as nobody
//! has changed the bundle since), and a deletion of what is gone succeed. While the store is away for a moment a call waits for it, [`PATIENCE`] at most,
//! because Go callers see any failure as final (docs/GRPC.md §3).
//! **Invariant:** a source neither changes nor deletes another's bundle, nor learns what it is.
//! **Invariant:** what was begun is done and told of in the audit log, whether or not the caller stays.

use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use link::event::Event;
use link::id::ConsumerName;
use link::order::Version;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{Reason, Refusal};
use super::hub::Hub;
use super::request::{
    PublishedBundle, RequestHead, SourceCommand, SourceRequest, request_head, understand, values,
};
use crate::audit::{Change, Outcome, changed};
use crate::callers::{Access, Action, Caller, Denied, Verb};
use crate::store::{Bundle, Content, Json, NewBundle, SourceName, Store, StoreError};
use crate::validate::{Addressed, BundleLimits, Draft, Envelope, Room, apart, room};

/// Stores what is published. Clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Publisher<S> {
    pub(super) store: S,
    pub(super) clock: Clock,
    pub(super) limits: BundleLimits,
    pub(super) envelope: Arc<Envelope>,
    pub(super) access: Access,
    pub(super) hub: Hub,
}

// === impl Publisher ===

impl<S: Store> Publisher<S> {
    /// Does what an event asks for; `granted` is told whose event it is once it may be, and may refuse it.
    pub(super) async fn publish(
        &self,
        caller: &Caller,
        event: Event,
        granted: impl FnOnce(SourceName) -> Result<(), Refusal> + Send,
    ) -> Result<(), Refusal> {
        let RequestHead { source, bundle } = request_head(&event)?;
        let operation = event.id.clone();
        let Some((id, consumer, verb)) = bundle else {
            return self.resync(caller, source, event, granted).await;
        };
        let action = Action {
            verb: Verb::Publish,
            source: Some(source.clone()),
            consumer: Some(consumer.clone()),
        };
        // Before its data is read, which takes time and memory.
        let allowed = self.access.allow(caller, &action).await;
        let allowed = allowed.map_err(Refusal::from);
        // What is refused from here on is told of in the audit log too.
        let understood = match allowed.and_then(|()| granted(source.clone())) {
            Ok(()) => understood(event).await,
            Err(refusal) => Err(refusal),
        };
        let (publisher, caller) = (self.clone(), caller.clone());
        let storing = tokio::spawn(async move {
            let done = match understood {
                Ok((SourceRequest::Store(command), _room)) => {
                    publisher.store(&caller, &source, *command).await
                }
                Ok((SourceRequest::Resync(_), _)) => Ok(()),
                Err(refusal) => Err(refusal),
            };
            let change = Change {
                verb,
                kind: "bundle",
                id: &id,
                source: Some(&source),
                consumer: Some(&consumer),
                operation: &operation,
            };
            let outcome = match &done {
                Ok(()) => Outcome::Done,
                Err(refusal) if refusal.is_the_callers() => Outcome::Refused(refusal.message()),
                Err(refusal) => Outcome::Failed(refusal.message()),
            };
            changed(&caller, &change, outcome);
            done
        });
        storing.await.unwrap_or_else(|_| Err(failed()))
    }

    async fn resync(
        &self,
        caller: &Caller,
        source: SourceName,
        event: Event,
        granted: impl FnOnce(SourceName) -> Result<(), Refusal> + Send,
    ) -> Result<(), Refusal> {
        // What it asks for goes to the streams of its source, and changes nothing.
        let action = Action {
            verb: Verb::Subscribe,
            source: Some(source.clone()),
            consumer: None,
        };
        self.access.allow(caller, &action).await?;
        granted(source.clone())?;
        if let (SourceRequest::Resync(held), _room) = understood(event).await? {
            self.hub.resync(&source, held);
        }
        Ok(())
    }

    async fn store(
        &self,
        caller: &Caller,
        source: &SourceName,
        command: SourceCommand,
    ) -> Result<(), Refusal> {
        match command {
            SourceCommand::Create(given) => self.create(source, given).await,
            SourceCommand::Update { given, expected } => {
                self.update(caller, source, given, expected).await
            }
            SourceCommand::Delete { id, consumer } => {
                self.delete(caller, source, &id, &consumer).await
            }
        }
    }

    async fn create(&self, source: &SourceName, given: PublishedBundle) -> Result<(), Refusal> {
        let id = given.id.clone();
        let (metadata, content, origin) =
            self.checked(given.draft, &id, &given.consumer, given.origin)?;
        let new = NewBundle {
            name: id.clone(),
            id: id.clone(),
            source: source.clone(),
            consumer_name: given.consumer,
            metadata,
            origin: Some(origin),
            content,
        };
        let created = patiently(|| self.store.create_bundle(new.clone(), self.clock.now())).await;
        match created.outcome {
            Ok(_) => Ok(()),
            Err(StoreError::BundleExists { .. }) => {
                let existing = self.bundle(&id).await?;
                match existing.filter(|bundle| bundle.source == *source) {
                    Some(bundle) if bundle.deleted_at.is_some() => Err(Refusal::already_exists(
                        &id,
                        "; it is being deleted, and can be made anew once its agent has confirmed that",
                    )),
                    Some(bundle)
                        if bundle.consumer_name == new.consumer_name
                            && is_same(&bundle, new.metadata.as_ref(), &new.content) =>
                    {
                        Ok(())
                    }
                    Some(_) => Err(Refusal::already_exists(&id, " with another content")),
                    None => Err(Refusal::already_exists(&id, "")),
                }
            }
            Err(error) => Err(Refusal::of_store(&error, &id)),
        }
    }

    async fn update(
        &self,
        caller: &Caller,
        source: &SourceName,
        given: PublishedBundle,
        expected: Option<Version>,
    ) -> Result<(), Refusal> {
        let id = given.id.clone();
        let bundle = self.own(caller, source, &id, &given.consumer).await?;
        let bundle = bundle.ok_or_else(|| Refusal::not_found(&id))?;
        if bundle.deleted_at.is_some() {
            return Err(Refusal::deleting(&id));
        }
        if let Some(expected) = expected.filter(|expected| *expected != bundle.version) {
            if expected.next() == Some(bundle.version) && self.has_made(&bundle, given) {
                return Ok(());
            }
            let error = StoreError::VersionConflict {
                id: id.clone(),
                expected,
                latest: bundle.version,
            };
            return Err(Refusal::of_store(&error, &id));
        }
        let mut draft = given.draft;
        draft.stored = bundle.content;
        let (metadata, content, origin) =
            self.checked(draft, &id, &given.consumer, given.origin)?;
        let updated = patiently(|| {
            let (metadata, content) = (metadata.clone(), content.clone());
            let origin = Some(origin.clone());
            self.store
                .update_bundle(&id, expected, metadata, content, origin, self.clock.now())
        })
        .await;
        match updated.outcome {
            Ok(_) => Ok(()),
            // An attempt whose answer was lost may be what made the version.
            Err(error @ StoreError::VersionConflict { .. }) if updated.again => {
                let stored = self.bundle(&id).await?;
                match stored {
                    Some(stored) if is_same(&stored, metadata.as_ref(), &content) => Ok(()),
                    _ => Err(Refusal::of_store(&error, &id)),
                }
            }
            Err(error) => Err(Refusal::of_store(&error, &id)),
        }
    }

    /// Whether this very event made the stored version: its answer was lost, and it is sent again.
    fn has_made(&self, bundle: &Bundle, given: PublishedBundle) -> bool {
        let event = |origin: &Json| origin.to_value().get("id").cloned();
        if bundle.origin.as_ref().and_then(event) != event(&given.origin) {
            return false;
        }
        let mut draft = given.draft;
        draft.stored = bundle.content.clone();
        self.checked(draft, &bundle.id, &given.consumer, given.origin)
            .is_ok_and(|(metadata, content, _)| is_same(bundle, metadata.as_ref(), &content))
    }

    async fn delete(
        &self,
        caller: &Caller,
        source: &SourceName,
        id: &str,
        consumer: &ConsumerName,
    ) -> Result<(), Refusal> {
        // Another's is as gone as one that never was.
        if self.own(caller, source, id, consumer).await?.is_none() {
            return Ok(());
        }
        let marked = patiently(|| self.store.mark_deleting(id, self.clock.now())).await;
        match marked.outcome {
            Ok(()) | Err(StoreError::BundleNotFound { .. }) => Ok(()),
            Err(error) => Err(Refusal::of_store(&error, id)),
        }
    }

    fn checked(
        &self,
        draft: Draft,
        id: &str,
        consumer: &ConsumerName,
        origin: Json,
    ) -> Result<(Option<Json>, Content, Json), Refusal> {
        let to = Addressed {
            envelope: &self.envelope,
            consumer,
            id,
            origin: Some(&origin),
        };
        let checked = draft.check(&self.limits, &to);
        let (metadata, content) = checked.map_err(|invalid| Refusal::from(invalid).about(id))?;
        Ok((metadata, content, origin))
    }

    /// The bundle that is to be changed, if it is this source's. Rights are given by consumer, so the one that was named must
    /// be the one; and who has none for that one does not learn that there is a bundle.
    async fn own(
        &self,
        caller: &Caller,
        source: &SourceName,
        id: &str,
        consumer: &ConsumerName,
    ) -> Result<Option<Bundle>, Refusal> {
        let bundle = self.bundle(id).await?;
        let Some(bundle) = bundle.filter(|bundle| bundle.source == *source) else {
            return Ok(None);
        };
        if bundle.consumer_name == *consumer {
            return Ok(Some(bundle));
        }
        let action = Action {
            verb: Verb::Publish,
            source: Some(source.clone()),
            consumer: Some(bundle.consumer_name.clone()),
        };
        match self.access.allow(caller, &action).await {
            Ok(()) => Err(Refusal::invalid(format!(
                "clustername: cannot be changed, resource bundle `{id}` is for `{}`",
                bundle.consumer_name
            ))
            .about(id)),
            Err(denied @ Denied::Unavailable(_)) => Err(denied.into()),
            Err(_) => Ok(None),
        }
    }

    async fn bundle(&self, id: &str) -> Result<Option<Bundle>, Refusal> {
        let read = patiently(|| self.store.get_bundle(id)).await;
        read.outcome.map_err(|error| Refusal::of_store(&error, id))
    }
}

/// What an event asks for, with the room that it takes.
async fn understood(event: Event) -> Result<(SourceRequest, Room), Refusal> {
    let values = values(&event);
    let room = room(values).await;
    let room =
        room.ok_or_else(|| Refusal::unavailable("too much JSON at once, try again later"))?;
    let understood = apart(values, move || understand(&event)).await;
    Ok((understood.ok_or_else(failed)??, room))
}

fn failed() -> Refusal {
    Refusal::new(Reason::Internal, "the server failed on this call")
}

/// Whether a bundle is what somebody wants to store.
fn is_same(bundle: &Bundle, metadata: Option<&Json>, content: &Content) -> bool {
    bundle.metadata.as_ref() == metadata && bundle.content.as_ref() == Some(content)
}

/// What came of a call of the store, and whether it was made more than once.
struct Tried<T> {
    outcome: Result<T, StoreError>,
    again: bool,
}

/// Calls the store until it answers, for [`PATIENCE`].
async fn patiently<T, F, Fut>(mut call: F) -> Tried<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    let mut again = false;
    loop {
        let outcome = match timeout_at(deadline, call()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Unavailable {
                reason: format!("it did not answer within {} s", PATIENCE.as_secs()),
            }),
        };
        let over = Instant::now() + pause >= deadline;
        match &outcome {
            Err(StoreError::Closed) => return Tried { outcome, again },
            Err(error) if error.is_retryable() && !over => {}
            _ => return Tried { outcome, again },
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        again = true;
    }
}

/// How long a call waits for the store: a failover takes seconds, and callers give up after ten (docs/GRPC.md §3).
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
