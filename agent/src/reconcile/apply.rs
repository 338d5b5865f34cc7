//! One pass over a work that is to be there: apply each manifest, prune, observe, judge.

use std::time::Duration;

use link::bundle::manifest::ObjectRef;
use link::bundle::{Executer, ServiceAccount, Spec, Status};
use tokio::time::Instant;
use tracing::info;

use super::judge::judged;
use super::resume::WorkSnapshot;
use super::unmatched::unmatched;
use super::{PassResult, Recheck, Reconciler, finished, parse, release_mode};
use crate::applier::{
    Applier, ApplierError, ApplierErrorKind, Desired, Fingerprint, HeldObject, RecordMetadata,
    Release, Strategy,
};
use crate::planned::PlannedManifest;
use crate::status::{self, Context, ManifestOutcome};
use crate::work::{Entry, Head, Store, Work, WorkId, bundle_name, labels};

impl<S: Store, T: Applier> Reconciler<S, T> {
    pub(super) async fn apply(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        previous: &Status,
    ) -> PassResult {
        let context = self.context(work, previous);
        if !self.applier.owns(id) {
            self.applier.describe(id, record_metadata(&work.head));
        }
        let rejected = work.head.rejected.as_deref();
        match (parse(work), rejected) {
            (Ok(spec), None) if status::is_complete(&previous.conditions, context) => {
                self.observe_finished(id, spec, context).await
            }
            (Ok(spec), None) => {
                let configs = spec.manifest_configs.clone();
                let (outcomes, again, snapshot) =
                    self.apply_spec(id, entry.epoch, spec, context).await;
                let unmatched = unmatched(&configs, &outcomes);
                let mut status = judged(outcomes, context).await;
                status::unmatched(&mut status, &unmatched, context);
                let again = again.or(self.finished_just_now(&status, context));
                PassResult {
                    status,
                    again,
                    snapshot,
                }
            }
            (Ok(spec), Some(problem)) => PassResult {
                status: status::rejected(problem, context),
                // What was accepted before stays in force; the status is about the version that cannot be used.
                again: if spec.manifests.is_empty() || finished::has_ended(&previous.conditions) {
                    Recheck::Eventually
                } else {
                    let accepted = finished::accepted(context);
                    self.apply_spec(id, entry.epoch, spec, accepted).await.1
                },
                snapshot: None,
            },
            (Err(unreadable), rejected) => PassResult {
                status: status::rejected(rejected.unwrap_or(&unreadable), context),
                again: Recheck::Eventually,
                snapshot: None,
            },
        }
    }

    /// Looks at the objects of a paused work and touches nothing.
    pub(super) async fn observe_only(
        &self,
        work: &Work,
        previous: &Status,
        why: &str,
    ) -> PassResult {
        let context = self.context(work, previous);
        let mut outcomes = Vec::new();
        if let Ok(spec) = parse(work) {
            for planned in self.plan(spec).await {
                outcomes.push(self.observed(planned, Ok(()), None).await);
            }
        }
        PassResult {
            status: status::paused(outcomes, why, context),
            again: Recheck::Eventually,
            snapshot: None,
        }
    }

    /// Applies each manifest, then prunes. One that fails does not stop the others.
    async fn apply_spec(
        &self,
        id: &WorkId,
        epoch: u64,
        spec: Spec,
        context: Context<'_>,
    ) -> (Vec<ManifestOutcome>, Recheck, Option<WorkSnapshot>) {
        let delete_option = spec.delete_option.clone();
        let executor = match executor(spec.executer.as_ref()) {
            Ok(executor) => executor,
            Err(error) => {
                let (outcomes, again) = self.all_fail(spec, &error).await;
                return (outcomes, again, None);
            }
        };
        let plan = self.plan(spec).await;
        let claimed = self.claim(id, &plan, delete_option.as_ref()).await;
        let (claims, mut stale) = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                let failed = |planned| ManifestOutcome {
                    planned,
                    applied: Err(error.clone()),
                    observed: Err(error.message.clone()),
                };
                let outcomes = plan.into_iter().map(failed).collect();
                return (outcomes, Recheck::Backoff, None);
            }
        };
        let mut again = Recheck::Eventually;
        let mut outcomes = Vec::with_capacity(plan.len());
        let mut fingerprints = Vec::with_capacity(plan.len());
        for planned in plan {
            let ordinal = planned.ordinal;
            let mut fingerprint = None;
            let is_complete =
                planned.refused.is_none() && finished::is_complete_object(&planned.object, context);
            let outcome = if is_complete {
                self.observed(planned, Ok(()), None).await
            } else if let Some(observed) = self.spent(&planned, context).await {
                ManifestOutcome {
                    planned,
                    applied: Ok(()),
                    observed,
                }
            } else {
                let release =
                    release_mode(delete_option.as_ref(), &planned.object, &planned.resource);
                let applying =
                    self.apply_manifest(id, epoch, planned, context, executor.as_ref(), release);
                let (outcome, ongoing, seen) = applying.await;
                fingerprint = seen;
                again = again.or(ongoing.map_or(Recheck::Eventually, Recheck::After));
                outcome
            };
            if let Err(error) = &outcome.applied {
                again = again.or(error.into());
            } else if outcome.observed.is_err() {
                again = again.or(Recheck::Backoff);
            }
            outcomes.push(outcome);
            fingerprints.push((ordinal, fingerprint));
        }
        // What moves to a namespace that is not there stays where it is until it is.
        let waits = |held: &HeldObject| {
            let mut moves = outcomes.iter().filter(|it| has_no_namespace(it));
            moves.any(|it| it.planned.object.name == held.name)
        };
        stale.retain(|(held, _)| !waits(held));
        let settled = self.settle(id, &stale).await;
        (
            outcomes,
            again.or(settled),
            Some(WorkSnapshot {
                claims,
                fingerprints,
            }),
        )
    }

    /// Applies one manifest. While another writer keeps changing the object, the conflict is reported, for so long at
    /// least.
    async fn apply_manifest(
        &self,
        id: &WorkId,
        epoch: u64,
        planned: PlannedManifest,
        context: Context<'_>,
        executor: Option<&ServiceAccount>,
        release: Release,
    ) -> (ManifestOutcome, Option<Duration>, Option<Fingerprint>) {
        if let Some(error) = planned.refused.clone() {
            self.explain(id, &planned.object, &error);
            return (self.observed(planned, Err(error), None).await, None, None);
        }
        let desired = Desired {
            object: &planned.object,
            manifest: &planned.manifest,
            strategy: &planned.strategy,
            executor,
            may_remove: release == Release::Remove,
        };
        // This version was applied before, so what has to be written now was changed by somebody else.
        let repairs = self.write_conflicts.knows(id, epoch)
            || finished::was_applied(&planned.object, context);
        let conflicting_managers = if self
            .write_conflicts
            .is_near_limit(id, epoch, &planned.object)
        {
            self.applier.conflicting_managers(desired).await
        } else {
            Vec::new()
        };
        let applied = match unfit(&planned) {
            Some(unfit) => Err(unfit),
            None => self.applier.apply(id, desired).await,
        };
        let (mut applied, observed, fingerprint) = match applied {
            Ok(applied) => {
                if applied.changed {
                    let object = &planned.object;
                    info!(resource.id = %id, object = %object, "Applied {object}");
                    if repairs {
                        self.note_repair(id, epoch, object, &conflicting_managers);
                    }
                }
                // Rules read all of an object, and that a Job has finished must not be missed.
                let ruled = !planned.feedback.is_empty()
                    || !planned.conditions.is_empty()
                    || status::is_job(&planned.object);
                let exact = |fingerprint: Fingerprint| {
                    if ruled {
                        fingerprint.exact()
                    } else {
                        fingerprint
                    }
                };
                (Ok(()), applied.observed, applied.fingerprint.map(exact))
            }
            Err(error) => {
                self.explain(id, &planned.object, &error);
                (Err(error), None, None)
            }
        };
        let ongoing = self
            .write_conflicts
            .ongoing(id, epoch, &planned.object, Instant::now());
        let ongoing = ongoing.map(|(left, message)| {
            if applied.is_ok() {
                applied = Err(contested(message));
            }
            left
        });
        let outcome = self.observed(planned, applied, observed).await;
        let fingerprint = fingerprint.filter(|_| ongoing.is_none() && outcome.observed.is_ok());
        (outcome, ongoing, fingerprint)
    }

    /// Two writers that repair each other would never stop: from some number of repairs on there is a pause after each.
    fn note_repair(
        &self,
        id: &WorkId,
        epoch: u64,
        object: &ObjectRef,
        conflicting_managers: &[String],
    ) {
        let now = Instant::now();
        let Some(pause) = self.write_conflicts.repaired(id, epoch, object, now) else {
            return;
        };
        let ongoing = self.write_conflicts.ongoing(id, epoch, object, now);
        let mut message = ongoing.map(|(_, message)| message).unwrap_or_default();
        if message.is_empty() || !conflicting_managers.is_empty() {
            message = conflict_message(object, conflicting_managers);
            self.write_conflicts.set_message(id, object, &message);
        }
        info!(resource.id = %id, object = %object, "Puts {object} back after {} s", pause.as_secs());
        self.explain(id, object, &contested(message));
    }

    /// What is seen of an object that is spent: gone, or nobody knows. `None` when it is to be applied.
    async fn spent(
        &self,
        planned: &PlannedManifest,
        context: Context<'_>,
    ) -> Option<Result<Option<serde_json::Value>, String>> {
        if !status::is_spent(planned, context) {
            return None;
        }
        match self.applier.observe(&planned.object).await {
            Ok(Some(_)) => None,
            Ok(None) => Some(Ok(None)),
            Err(error) => Some(Err(error.message)),
        }
    }

    pub(super) async fn observed(
        &self,
        planned: PlannedManifest,
        applied: Result<(), ApplierError>,
        observed: Option<serde_json::Value>,
    ) -> ManifestOutcome {
        let observed = match observed {
            Some(observed) => Ok(Some(observed)),
            None => {
                let observed = self.applier.observe(&planned.object).await;
                observed.map_err(|error| error.message)
            }
        };
        ManifestOutcome {
            planned,
            applied,
            observed,
        }
    }

    async fn all_fail(&self, spec: Spec, error: &ApplierError) -> (Vec<ManifestOutcome>, Recheck) {
        let plan = self.plan(spec).await;
        let failed = |planned| ManifestOutcome {
            planned,
            applied: Err(error.clone()),
            observed: Err(error.message.clone()),
        };
        (plan.into_iter().map(failed).collect(), error.into())
    }
}

/// What the record of a work's objects carries.
fn record_metadata(head: &Head) -> RecordMetadata {
    RecordMetadata {
        labels: labels(head.metadata.as_deref()),
        bundle_name: bundle_name(head),
    }
}

fn has_no_namespace(outcome: &ManifestOutcome) -> bool {
    let applied = outcome.applied.as_ref();
    applied.is_err_and(|error| error.kind == ApplierErrorKind::NoNamespace)
}

fn contested(message: String) -> ApplierError {
    ApplierError {
        kind: ApplierErrorKind::Conflict {
            owner: String::new(),
        },
        message,
    }
}

fn conflict_message(object: &ObjectRef, conflicting_managers: &[String]) -> String {
    let (who, hint) = if conflicting_managers.is_empty() {
        (
            "somebody else".to_owned(),
            "look for its other writer in `metadata.managedFields`, another agent may use the same field manager, and",
        )
    } else {
        let names: Vec<String> = conflicting_managers
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        (names.join(" and "), "stop the other writer, or")
    };
    format!(
        "{who} changes {object} again and again after it was put back; it is put back once a minute at most; hint: \
         {hint} leave the field to one of the two"
    )
}

/// A manifest that no cluster can be brought to, refused with the message of the API that would not have taken it.
fn unfit(planned: &PlannedManifest) -> Option<ApplierError> {
    if planned.strategy == Strategy::ReadOnly {
        return None;
    }
    let (path, problem) = link::bundle::manifest::unfit(&planned.manifest)?;
    Some(ApplierError {
        kind: ApplierErrorKind::Invalid,
        message: format!("manifests[{}].{path}: {problem}", planned.ordinal),
    })
}

/// Whose rights count. Only service accounts are known (docs/MAESTRO.md §6.5).
fn executor(executer: Option<&Executer>) -> Result<Option<ServiceAccount>, ApplierError> {
    let Some(Executer { subject }) = executer else {
        return Ok(None);
    };
    match &subject.service_account {
        Some(account) if subject.kind == "ServiceAccount" => Ok(Some(account.clone())),
        _ => Err(ApplierError {
            kind: ApplierErrorKind::Invalid,
            message: format!(
                "the executer's subject is of type `{}`; hint: only `ServiceAccount` with `serviceAccount.namespace` \
                 and `serviceAccount.name` is known",
                subject.kind
            ),
        }),
    }
}
