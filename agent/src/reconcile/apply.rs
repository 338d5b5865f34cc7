//! One look at a work that is to be there: apply each manifest, prune, observe, judge.

use std::time::Duration;

use link::bundle::manifest::ObjectRef;
use link::bundle::{DeleteOption, Executer, ServiceAccount, Spec, Status};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Again, Look, Reconciler, Step, finished, parse, plan, release_mode};
use crate::intake::blocking;
use crate::status::{self, Context, Outcome};
use crate::target::{Claim, Desired, ErrorKind, Held, Release, Target, TargetError};
use crate::work::{Entry, Store, Work, WorkId};

impl<S: Store, T: Target> Reconciler<S, T> {
    pub(super) async fn apply(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        previous: &Status,
    ) -> Look {
        let context = self.context(work, previous);
        let rejected = work.head.rejected.as_deref();
        match (parse(work), rejected) {
            (Ok(spec), None) if finished::is_complete(&previous.conditions, context) => {
                self.look_at_finished(id, spec, context).await
            }
            (Ok(spec), None) => {
                let (outcomes, again) = self.apply_spec(id, entry.epoch, spec, context).await;
                let status = judged(outcomes, context).await;
                let again = again.or(self.finished_just_now(&status, context));
                Look { status, again }
            }
            (Ok(spec), Some(problem)) => Look {
                status: status::rejected(problem, context),
                // What was accepted before stays in force; the status is about the version that cannot be used.
                again: if spec.manifests.is_empty() {
                    Again::Eventually
                } else {
                    self.apply_spec(id, entry.epoch, spec, context).await.1
                },
            },
            (Err(unreadable), rejected) => Look {
                status: status::rejected(rejected.unwrap_or(&unreadable), context),
                again: Again::Eventually,
            },
        }
    }

    /// Looks at the objects of a paused work and touches nothing.
    pub(super) async fn look_only(&self, work: &Work, previous: &Status, why: &str) -> Look {
        let context = self.context(work, previous);
        let mut outcomes = Vec::new();
        if let Ok(spec) = parse(work) {
            for step in plan(spec, |object| self.target.resource(object)) {
                outcomes.push(self.observed(step, Ok(()), None).await);
            }
        }
        Look {
            status: status::paused(outcomes, why, context),
            again: Again::Eventually,
        }
    }

    /// Applies each manifest, then prunes. One that fails does not stop the others.
    async fn apply_spec(
        &self,
        id: &WorkId,
        epoch: u64,
        spec: Spec,
        context: Context<'_>,
    ) -> (Vec<Outcome>, Again) {
        let delete_option = spec.delete_option.clone();
        let executor = match executor(spec.executer.as_ref()) {
            Ok(executor) => executor,
            Err(error) => return self.all_fail(spec, &error),
        };
        let steps = plan(spec, |object| self.target.resource(object));
        let claims: Vec<Claim> = steps.iter().filter_map(Step::claim).collect();
        let mut claimed = self.target.claim(id, &claims).await;
        if claims.is_empty()
            && let Err(error) = self.target.register(id).await
        {
            claimed = claimed.and(Err(error));
        }
        let stale = match claimed {
            Ok(stale) => {
                self.health.ok();
                stale
            }
            Err(error) => {
                self.health.failing(error.message.clone());
                let failed = |step| Outcome {
                    step,
                    applied: Err(error.clone()),
                    observed: Err(error.message.clone()),
                };
                return (steps.into_iter().map(failed).collect(), Again::Backoff);
            }
        };
        let mut again = Again::Eventually;
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            let outcome = if finished::is_complete_object(&step.object, context) {
                self.observed(step, Ok(()), None).await
            } else if self.stays_away(&step, context).await {
                Outcome {
                    step,
                    applied: Ok(()),
                    observed: Ok(None),
                }
            } else {
                let release = release_mode(delete_option.as_ref(), &step.object, &step.resource);
                let look = self.apply_step(id, epoch, step, context, executor.as_ref(), release);
                let (outcome, unrest) = look.await;
                again = again.or(unrest.map_or(Again::Eventually, Again::After));
                outcome
            };
            if let Err(error) = &outcome.applied {
                again = again.or(error.into());
            }
            outcomes.push(outcome);
        }
        let settled = self.settle(id, &stale, delete_option.as_ref()).await;
        (outcomes, again.or(settled))
    }

    /// Gives up what the work no longer declares, and has the target write down what is held now.
    pub(super) async fn settle(
        &self,
        id: &WorkId,
        stale: &[Held],
        option: Option<&DeleteOption>,
    ) -> Again {
        if !stale.is_empty() {
            let remaining = self.release(id, stale, option).await;
            if !remaining.is_empty() {
                return Again::Backoff;
            }
        }
        match self.target.settle(id).await {
            Ok(()) => Again::Eventually,
            Err(error) => {
                warn!(resource.id = %id, error = %error, "Could not record what work `{id}` holds");
                Again::Backoff
            }
        }
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
    ) -> (Outcome, Option<Duration>) {
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
            self.target.rivals(desired).await
        } else {
            Vec::new()
        };
        let (mut applied, observed) = match self.target.apply(id, desired).await {
            Ok(applied) => {
                if applied.changed {
                    let object = &step.object;
                    info!(resource.id = %id, object = %object, "Applied {object}");
                    if repairs {
                        self.note_repair(id, epoch, object, &rivals);
                    }
                }
                (Ok(()), applied.observed)
            }
            Err(error) => {
                self.explain(id, &step.object, &error);
                (Err(error), None)
            }
        };
        let unrest = self.feuds.unrest(id, epoch, &step.object, Instant::now());
        let unrest = unrest.map(|(left, words)| {
            if applied.is_ok() {
                applied = Err(fought_over(words));
            }
            left
        });
        (self.observed(step, applied, observed).await, unrest)
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

    /// Whether an object that is spent is gone.
    async fn stays_away(&self, step: &Step, context: Context<'_>) -> bool {
        status::is_spent(step, context)
            && matches!(self.target.observe(&step.object).await, Ok(None))
    }

    pub(super) async fn observed(
        &self,
        step: Step,
        applied: Result<(), TargetError>,
        observed: Option<serde_json::Value>,
    ) -> Outcome {
        let observed = match observed {
            Some(observed) => Ok(Some(observed)),
            None => {
                let observed = self.target.observe(&step.object).await;
                observed.map_err(|error| error.message)
            }
        };
        Outcome {
            step,
            applied,
            observed,
        }
    }

    fn all_fail(&self, spec: Spec, error: &TargetError) -> (Vec<Outcome>, Again) {
        let steps = plan(spec, |object| self.target.resource(object));
        let failed = |step| Outcome {
            step,
            applied: Err(error.clone()),
            observed: Err(error.message.clone()),
        };
        (steps.into_iter().map(failed).collect(), error.into())
    }
}

fn fought_over(words: String) -> TargetError {
    TargetError {
        kind: ErrorKind::Conflict {
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

/// Judges, off the event loop when there are rules to evaluate, which may take a second.
pub(super) async fn judged(outcomes: Vec<Outcome>, context: Context<'_>) -> Status {
    if outcomes
        .iter()
        .all(|outcome| outcome.step.conditions.is_empty())
    {
        return status::judge(outcomes, context);
    }
    let previous = context.previous.clone();
    let Context {
        generation,
        now,
        max_raw_bytes,
        ..
    } = context;
    blocking(move || {
        let context = Context {
            previous: &previous,
            generation,
            now,
            max_raw_bytes,
        };
        status::judge(outcomes, context)
    })
    .await
}

/// Whose rights count. Only service accounts are known (wire.md §6.5).
fn executor(executer: Option<&Executer>) -> Result<Option<ServiceAccount>, TargetError> {
    let Some(Executer { subject }) = executer else {
        return Ok(None);
    };
    match &subject.service_account {
        Some(account) if subject.kind == "ServiceAccount" => Ok(Some(account.clone())),
        _ => Err(TargetError {
            kind: ErrorKind::Invalid,
            message: format!(
                "the executer's subject is of type `{}`; hint: only `ServiceAccount` with `serviceAccount.namespace` \
                 and `serviceAccount.name` is known",
                subject.kind
            ),
        }),
    }
}
