//! One look at a work that is to be there: apply each manifest, prune, observe, judge.

use std::time::Duration;

use link::bundle::manifest::ObjectRef;
use link::bundle::{Executer, ServiceAccount, Spec, Status};
use tokio::time::Instant;
use tracing::info;

use super::judge::judged;
use super::resume::Sights;
use super::unmatched::unmatched;
use super::{Again, Look, Reconciler, finished, parse, release_mode};
use crate::applier::{
    Applier, ApplierError, ApplierErrorKind, Desired, Held, Mark, RecordMetadata, Release, Strategy,
};
use crate::planned::Step;
use crate::status::{self, Context, Outcome};
use crate::work::{Entry, Head, Store, Work, WorkId, bundle_name, labels};

impl<S: Store, T: Applier> Reconciler<S, T> {
    pub(super) async fn apply(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        previous: &Status,
    ) -> Look {
        let context = self.context(work, previous);
        if !self.applier.owns(id) {
            self.applier.describe(id, record_metadata(&work.head));
        }
        let rejected = work.head.rejected.as_deref();
        match (parse(work), rejected) {
            (Ok(spec), None) if status::is_complete(&previous.conditions, context) => {
                self.look_at_finished(id, spec, context).await
            }
            (Ok(spec), None) => {
                let configs = spec.manifest_configs.clone();
                let (outcomes, again, sights) =
                    self.apply_spec(id, entry.epoch, spec, context).await;
                let unmatched = unmatched(&configs, &outcomes);
                let mut status = judged(outcomes, context).await;
                status::unmatched(&mut status, &unmatched, context);
                let again = again.or(self.finished_just_now(&status, context));
                Look {
                    status,
                    again,
                    sights,
                }
            }
            (Ok(spec), Some(problem)) => Look {
                status: status::rejected(problem, context),
                // What was accepted before stays in force; the status is about the version that cannot be used.
                again: if spec.manifests.is_empty() || finished::has_ended(&previous.conditions) {
                    Again::Eventually
                } else {
                    let accepted = finished::accepted(context);
                    self.apply_spec(id, entry.epoch, spec, accepted).await.1
                },
                sights: None,
            },
            (Err(unreadable), rejected) => Look {
                status: status::rejected(rejected.unwrap_or(&unreadable), context),
                again: Again::Eventually,
                sights: None,
            },
        }
    }

    /// Looks at the objects of a paused work and touches nothing.
    pub(super) async fn look_only(&self, work: &Work, previous: &Status, why: &str) -> Look {
        let context = self.context(work, previous);
        let mut outcomes = Vec::new();
        if let Ok(spec) = parse(work) {
            for step in self.plan(spec).await {
                outcomes.push(self.observed(step, Ok(()), None).await);
            }
        }
        Look {
            status: status::paused(outcomes, why, context),
            again: Again::Eventually,
            sights: None,
        }
    }

    /// Applies each manifest, then prunes. One that fails does not stop the others.
    async fn apply_spec(
        &self,
        id: &WorkId,
        epoch: u64,
        spec: Spec,
        context: Context<'_>,
    ) -> (Vec<Outcome>, Again, Option<Sights>) {
        let delete_option = spec.delete_option.clone();
        let executor = match executor(spec.executer.as_ref()) {
            Ok(executor) => executor,
            Err(error) => {
                let (outcomes, again) = self.all_fail(spec, &error).await;
                return (outcomes, again, None);
            }
        };
        let steps = self.plan(spec).await;
        let claimed = self.claim(id, &steps, delete_option.as_ref()).await;
        let (claims, mut stale) = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                let failed = |step| Outcome {
                    step,
                    applied: Err(error.clone()),
                    observed: Err(error.message.clone()),
                };
                let outcomes = steps.into_iter().map(failed).collect();
                return (outcomes, Again::Backoff, None);
            }
        };
        let mut again = Again::Eventually;
        let mut outcomes = Vec::with_capacity(steps.len());
        let mut marks = Vec::with_capacity(steps.len());
        for step in steps {
            let ordinal = step.ordinal;
            let mut mark = None;
            let is_complete =
                step.refused.is_none() && finished::is_complete_object(&step.object, context);
            let outcome = if is_complete {
                self.observed(step, Ok(()), None).await
            } else if let Some(observed) = self.spent(&step, context).await {
                Outcome {
                    step,
                    applied: Ok(()),
                    observed,
                }
            } else {
                let release = release_mode(delete_option.as_ref(), &step.object, &step.resource);
                let look = self.apply_step(id, epoch, step, context, executor.as_ref(), release);
                let (outcome, unrest, seen) = look.await;
                mark = seen;
                again = again.or(unrest.map_or(Again::Eventually, Again::After));
                outcome
            };
            if let Err(error) = &outcome.applied {
                again = again.or(error.into());
            } else if outcome.observed.is_err() {
                again = again.or(Again::Backoff);
            }
            outcomes.push(outcome);
            marks.push((ordinal, mark));
        }
        // What moves to a namespace that is not there stays where it is until it is.
        let waits = |held: &Held| {
            let mut moves = outcomes.iter().filter(|it| has_no_namespace(it));
            moves.any(|it| it.step.object.name == held.name)
        };
        stale.retain(|(held, _)| !waits(held));
        let settled = self.settle(id, &stale).await;
        (outcomes, again.or(settled), Some(Sights { claims, marks }))
    }

    /// Applies one manifest. While somebody else fights over the object, that is what is said of it, for so long at
    /// least.
    async fn apply_step(
        &self,
        id: &WorkId,
        epoch: u64,
        step: Step,
        context: Context<'_>,
        executor: Option<&ServiceAccount>,
        release: Release,
    ) -> (Outcome, Option<Duration>, Option<Mark>) {
        if let Some(error) = step.refused.clone() {
            self.explain(id, &step.object, &error);
            return (self.observed(step, Err(error), None).await, None, None);
        }
        let desired = Desired {
            object: &step.object,
            manifest: &step.manifest,
            strategy: &step.strategy,
            executor,
            may_remove: release == Release::Remove,
        };
        // This version was applied before, so what has to be written now was changed by somebody else.
        let repairs = self.feuds.knows(id, epoch) || finished::was_applied(&step.object, context);
        let rivals = if self.feuds.is_suspicious(id, epoch, &step.object) {
            self.applier.rivals(desired).await
        } else {
            Vec::new()
        };
        let applied = match unfit(&step) {
            Some(unfit) => Err(unfit),
            None => self.applier.apply(id, desired).await,
        };
        let (mut applied, observed, mark) = match applied {
            Ok(applied) => {
                if applied.changed {
                    let object = &step.object;
                    info!(resource.id = %id, object = %object, "Applied {object}");
                    if repairs {
                        self.note_repair(id, epoch, object, &rivals);
                    }
                }
                // Rules read all of an object, and that a Job has finished must not be missed.
                let ruled = !step.feedback.is_empty()
                    || !step.conditions.is_empty()
                    || status::is_job(&step.object);
                let exact = |mark: Mark| if ruled { mark.exact() } else { mark };
                (Ok(()), applied.observed, applied.mark.map(exact))
            }
            Err(error) => {
                self.explain(id, &step.object, &error);
                (Err(error), None, None)
            }
        };
        let unrest = self.feuds.unrest(id, epoch, &step.object, Instant::now());
        let unrest = unrest.map(|(left, words)| {
            if applied.is_ok() {
                applied = Err(fought_over(words));
            }
            left
        });
        let outcome = self.observed(step, applied, observed).await;
        let mark = mark.filter(|_| unrest.is_none() && outcome.observed.is_ok());
        (outcome, unrest, mark)
    }

    /// Two who repair each other would never rest: from some point on this one takes its time.
    fn note_repair(&self, id: &WorkId, epoch: u64, object: &ObjectRef, rivals: &[String]) {
        let now = Instant::now();
        let Some(pause) = self.feuds.repaired(id, epoch, object, now) else {
            return;
        };
        let told = self.feuds.unrest(id, epoch, object, now);
        let mut words = told.map(|(_, words)| words).unwrap_or_default();
        if words.is_empty() || !rivals.is_empty() {
            words = feud_words(object, rivals);
            self.feuds.tell(id, object, &words);
        }
        info!(resource.id = %id, object = %object, "Puts {object} back after {} s", pause.as_secs());
        self.explain(id, object, &fought_over(words));
    }

    /// What is seen of an object that is spent: gone, or nobody knows. `None` when it is to be applied.
    async fn spent(
        &self,
        step: &Step,
        context: Context<'_>,
    ) -> Option<Result<Option<serde_json::Value>, String>> {
        if !status::is_spent(step, context) {
            return None;
        }
        match self.applier.observe(&step.object).await {
            Ok(Some(_)) => None,
            Ok(None) => Some(Ok(None)),
            Err(error) => Some(Err(error.message)),
        }
    }

    pub(super) async fn observed(
        &self,
        step: Step,
        applied: Result<(), ApplierError>,
        observed: Option<serde_json::Value>,
    ) -> Outcome {
        let observed = match observed {
            Some(observed) => Ok(Some(observed)),
            None => {
                let observed = self.applier.observe(&step.object).await;
                observed.map_err(|error| error.message)
            }
        };
        Outcome {
            step,
            applied,
            observed,
        }
    }

    async fn all_fail(&self, spec: Spec, error: &ApplierError) -> (Vec<Outcome>, Again) {
        let steps = self.plan(spec).await;
        let failed = |step| Outcome {
            step,
            applied: Err(error.clone()),
            observed: Err(error.message.clone()),
        };
        (steps.into_iter().map(failed).collect(), error.into())
    }
}

/// What the record of a work's objects carries.
fn record_metadata(head: &Head) -> RecordMetadata {
    RecordMetadata {
        labels: labels(head.metadata.as_deref()),
        bundle_name: bundle_name(head),
    }
}

fn has_no_namespace(outcome: &Outcome) -> bool {
    let applied = outcome.applied.as_ref();
    applied.is_err_and(|error| error.kind == ApplierErrorKind::NoNamespace)
}

fn fought_over(words: String) -> ApplierError {
    ApplierError {
        kind: ApplierErrorKind::Conflict {
            owner: String::new(),
        },
        message: words,
    }
}

fn feud_words(object: &ObjectRef, rivals: &[String]) -> String {
    let (who, hint) = if rivals.is_empty() {
        (
            "somebody else".to_owned(),
            "look for its other writer in `metadata.managedFields`, another agent may use the same field manager, and",
        )
    } else {
        let names: Vec<String> = rivals.iter().map(|name| format!("`{name}`")).collect();
        (names.join(" and "), "stop the other writer, or")
    };
    format!(
        "{who} changes {object} again and again after it was put back; it is put back once a minute at most; hint: \
         {hint} leave the field to one of the two"
    )
}

/// A manifest that no cluster can be brought to, refused in the words of the API that would not have taken it.
fn unfit(step: &Step) -> Option<ApplierError> {
    if step.strategy == Strategy::ReadOnly {
        return None;
    }
    let (path, problem) = link::bundle::manifest::unfit(&step.manifest)?;
    Some(ApplierError {
        kind: ApplierErrorKind::Invalid,
        message: format!("manifests[{}].{path}: {problem}", step.ordinal),
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
