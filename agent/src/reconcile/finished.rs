//! Works and objects that have finished: nothing is applied for them any more, and a work with a time to live has
//! its objects removed once that has passed (docs/MAESTRO.md §6.3, §6.4; the Go agent ignores the time to live).
//!
//! The work itself stays: only its source may end it, and `Deleted` would make a Go server forget the bundle.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use link::bundle::manifest::ObjectRef;
use link::bundle::{Condition, Spec};

use super::judge::judged;
use super::unmatched::unmatched;
use super::{PassResult, Recheck, Reconciler};
use crate::applier::Applier;
use crate::status::{self, Context};
use crate::work::{Store, WorkId};

impl<S: Store, T: Applier> Reconciler<S, T> {
    /// Looks at the objects of a finished work, or removes them when their time has come.
    pub(super) async fn observe_finished(
        &self,
        id: &WorkId,
        spec: Spec,
        context: Context<'_>,
    ) -> PassResult {
        let nothing_new = PassResult {
            status: context.previous.clone(),
            again: Recheck::Eventually,
            snapshot: None,
        };
        if status::has(&context.previous.conditions, status::EXPIRED, context) {
            return nothing_new;
        }
        let option = spec.delete_option.clone();
        let ttl = option
            .as_ref()
            .and_then(|option| option.ttl_seconds_after_finished);
        let left = ttl.and_then(|ttl| time_left(&context.previous.conditions, ttl, context.now));
        if left == Some(Duration::ZERO) {
            let held = match self.applier.claim(id, &[]).await {
                Ok(held) => held,
                Err(error) => {
                    self.health.failing(error.message);
                    return PassResult {
                        again: Recheck::Backoff,
                        ..nothing_new
                    };
                }
            };
            let held = self.with_modes(held, option.as_ref());
            let settled = self.settle(id, &held).await;
            return match settled {
                Recheck::Eventually => PassResult {
                    status: status::expired(ttl.unwrap_or_default(), context),
                    again: Recheck::Eventually,
                    snapshot: None,
                },
                again => PassResult {
                    again,
                    ..nothing_new
                },
            };
        }
        let configs = spec.manifest_configs.clone();
        let plan = self.plan(spec).await;
        // What an earlier pass could not give up, and a record that somebody took away.
        let settled = match self.claim(id, &plan, option.as_ref()).await {
            Ok((_, stale)) => self.settle(id, &stale).await,
            Err(_) => Recheck::Backoff,
        };
        let mut outcomes = Vec::new();
        for planned in plan {
            outcomes.push(self.observed(planned, Ok(()), None).await);
        }
        let unread = outcomes.iter().any(|outcome| outcome.observed.is_err());
        let unmatched = unmatched(&configs, &outcomes);
        let mut status = judged(outcomes, context).await;
        status::unmatched(&mut status, &unmatched, context);
        let again = left.map_or(Recheck::Eventually, Recheck::After).or(settled);
        PassResult {
            status,
            again: if unread {
                again.or(Recheck::Backoff)
            } else {
                again
            },
            snapshot: None,
        }
    }

    /// A work that has just finished is reconciled again at once: its time to live may be short.
    pub(super) fn finished_just_now(
        &self,
        status: &link::bundle::Status,
        context: Context<'_>,
    ) -> Recheck {
        if status::is_complete(&status.conditions, context) {
            Recheck::After(Duration::ZERO)
        } else {
            Recheck::Eventually
        }
    }
}

/// Whether a version has finished, and its objects may be gone for that.
pub(super) fn has_ended(conditions: &[Condition]) -> bool {
    let mut conditions = conditions.iter();
    conditions.any(|it| it.is_true() && matches!(it.kind.as_str(), "Complete" | status::EXPIRED))
}

/// The context of the version that is in force while the one in hand cannot be used: what its objects say of themselves
/// is about that version.
pub(super) fn accepted(context: Context<'_>) -> Context<'_> {
    let manifests = context.previous.resource_status.iter();
    let conditions = manifests.flat_map(|manifest| &manifest.conditions);
    let applied = conditions.filter(|condition| condition.kind == "Applied");
    let newest = applied.map(|condition| condition.observed_generation).max();
    Context {
        generation: newest.unwrap_or(context.generation),
        ..context
    }
}

/// Whether an object has finished for the version in hand.
pub(super) fn is_complete_object(object: &ObjectRef, context: Context<'_>) -> bool {
    conditions(object, context).is_some_and(|all| status::is_complete(all, context))
}

/// Whether an object was applied in the version in hand.
pub(super) fn was_applied(object: &ObjectRef, context: Context<'_>) -> bool {
    conditions(object, context).is_some_and(|all| status::has(all, "Applied", context))
}

fn conditions<'a>(object: &ObjectRef, context: Context<'a>) -> Option<&'a [Condition]> {
    let mut manifests = context.previous.resource_status.iter();
    let found = manifests.find(|manifest| {
        let meta = &manifest.resource_meta;
        meta.group == object.group
            && meta.kind == object.kind
            && meta.namespace == object.namespace
            && meta.name == object.name
    });
    found.map(|manifest| manifest.conditions.as_slice())
}

/// What is left of the time to live, counted from when the work finished; zero when it is over.
fn time_left(conditions: &[Condition], ttl: i64, now: Timestamp) -> Option<Duration> {
    let finished = conditions
        .iter()
        .find(|condition| condition.kind == "Complete")?
        .last_transition_time
        .parse::<Timestamp>()
        .ok()?;
    let due = finished
        .checked_add(SignedDuration::from_secs(ttl.max(0)))
        .ok()?;
    Some(Duration::try_from(due.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_live_counts_from_when_the_work_finished() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let finished = at("2026-08-01T10:00:00Z");
        let conditions = [Condition::new("Complete", "True", "R", "", 3, finished)];
        for (now, left) in [
            ("2026-08-01T10:00:00Z", 60),
            ("2026-08-01T10:00:59Z", 1),
            ("2026-08-01T10:01:00Z", 0),
            ("2026-08-02T10:01:00Z", 0),
        ] {
            let left = Duration::from_secs(left);
            assert_eq!(time_left(&conditions, 60, at(now)), Some(left), "{now}");
        }
        assert_eq!(time_left(&[], 60, finished), None);
    }
}
