//! Carries a plan out, resource by resource, until nothing is left to do.
//!
//! Level-triggered: each resource is observed again before and after each change, so it does not matter where an earlier
//! run was interrupted. What depends on another resource (the database's address in a secret) comes in a
//! second pass. A pass that finds nothing to do ends it.

use std::time::Duration;

use link::error::{Failure, Hint, chain};
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::aws::{AwsError, AwsErrorKind, Cloud};
use crate::plan::{Plan, PlannedAction, ResourcePlan};
use crate::progress::Progress;
use crate::resource::{Address, Facts, Manage as _, Resource};
use crate::snapshot::Snapshot;

/// A run stopped before the end. What was done stays, and the same command goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum StoppedError {
    /// A resource is in the way.
    #[error("{resource}: {why}")]
    Obstacle {
        /// Which.
        resource: Address,
        /// Why.
        why: String,
        /// The next step.
        hint: Option<String>,
    },
    /// A call failed.
    #[error("make {resource}")]
    Call {
        /// Which.
        resource: Address,
        /// Why.
        #[source]
        source: Box<AwsError>,
    },
    /// It did not become usable in time.
    #[error("{resource} is not ready after {seconds} s: {state}")]
    Timeout {
        /// Which.
        resource: Address,
        /// How long was waited.
        seconds: u64,
        /// What it is like.
        state: String,
    },
    /// A change would be disruptive, and the plan that was shown did not say so.
    #[error("{resource} has changed since the plan was shown, and putting it right {what}")]
    UnplannedDisruption {
        /// Which.
        resource: Address,
        /// What it disrupts.
        what: String,
    },
    /// The broker's endpoint could not be read.
    #[error("look at what is there")]
    Observe(#[source] Box<AwsError>),
    /// After the last pass there is still something to do.
    #[error("still not as it should be after {PASSES} passes: {left}")]
    NotConverging {
        /// What is left.
        left: String,
    },
}

/// Carries out a plan that was shown, and whatever follows from it.
///
/// # Errors
/// [`StoppedError`]; the same call goes on from there.
pub async fn converge(
    cloud: &Cloud,
    resources: &[Resource],
    shown: Plan,
    progress: &dyn Progress,
) -> Result<Plan, StoppedError> {
    let mut plan = shown.clone();
    for pass in 0..PASSES {
        if let Some(row) = plan.obstacle() {
            return Err(StoppedError::obstacle(row));
        }
        if plan.to_do().next().is_none() {
            return Ok(plan);
        }
        debug!(pass, "Carrying out");
        let mut facts = plan.facts.clone();
        for (resource, row) in resources.iter().zip(&plan.resources) {
            if row.action.is_work() {
                let agreed = shown
                    .resources
                    .iter()
                    .find(|other| other.resource == row.resource);
                converge_resource(cloud, resource, agreed, &mut facts, progress).await?;
            }
        }
        let snapshot = Snapshot::take(cloud, resources)
            .await
            .map_err(StoppedError::observe)?;
        plan = snapshot.plan(cloud, resources);
    }
    let left: Vec<_> = plan.to_do().map(|row| row.resource.to_string()).collect();
    if left.is_empty() {
        Ok(plan)
    } else {
        Err(StoppedError::NotConverging {
            left: left.join(", "),
        })
    }
}

/// Brings one resource to its desired state, as far as that is known now.
async fn converge_resource(
    cloud: &Cloud,
    resource: &Resource,
    agreed: Option<&ResourcePlan>,
    facts: &mut Facts,
    progress: &dyn Progress,
) -> Result<(), StoppedError> {
    let address = resource.address();
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut last;
    loop {
        let observed = match resource.observe(cloud).await {
            Ok(observed) => observed,
            Err(source) if source.kind() == AwsErrorKind::Settling => None,
            Err(source) => {
                return Err(StoppedError::call(&address, source));
            }
        };
        if let Some(observed) = &observed {
            facts.learn(&observed.facts);
        }
        let row = ResourcePlan::of(resource, Ok(observed.as_ref()), cloud, facts);
        let outcome = match &row.action {
            PlannedAction::Keep => return Ok(()),
            PlannedAction::Refuse { .. } | PlannedAction::Unknown { .. } => {
                return Err(StoppedError::obstacle(&row));
            }
            PlannedAction::Wait { state } => {
                progress.waiting(&address, state, begun.elapsed());
                last = state.clone();
                Ok(())
            }
            PlannedAction::Create { .. } => {
                progress.doing(&address, "create");
                last = "it is not there yet".into();
                resource.create(cloud, facts).await
            }
            PlannedAction::Update { changes, disrupts } => {
                refuse_surprises(&address, agreed, disrupts)?;
                let names: Vec<_> = changes.iter().map(|c| c.attribute.as_str()).collect();
                let names = names.join(", ");
                progress.doing(&address, &format!("change {names}"));
                last = format!("not as it should be: {names}");
                resource.update(cloud, facts, changes).await
            }
        };
        match outcome {
            Ok(()) => {}
            // Made a moment ago and not visible yet, or something it depends on is not.
            Err(error) if may_pass(&error) => {
                progress.waiting(&address, &chain(&error), begun.elapsed());
                last = chain(&error);
            }
            Err(source) => {
                return Err(StoppedError::call(&address, source));
            }
        }
        if begun.elapsed() >= resource.patience() {
            let seconds = begun.elapsed().as_secs();
            return Err(StoppedError::Timeout {
                resource: address,
                seconds,
                state: last,
            });
        }
        if !matches!(row.action, PlannedAction::Create { .. }) || pause > FIRST_PAUSE {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        } else {
            pause *= 2;
        }
    }
}

// A disruptive change must have been in the plan that was shown. After a creation in the same run nothing can be
// disrupted.
fn refuse_surprises(
    address: &Address,
    agreed: Option<&ResourcePlan>,
    disrupts: &[String],
) -> Result<(), StoppedError> {
    let shown = |what: &String| {
        agreed.is_some_and(|row| {
            matches!(row.action, PlannedAction::Create { .. })
                || row.action.disrupts().contains(what)
        })
    };
    match disrupts.iter().find(|what| !shown(what)) {
        None => Ok(()),
        Some(what) => Err(StoppedError::UnplannedDisruption {
            resource: address.clone(),
            what: what.clone(),
        }),
    }
}

fn may_pass(error: &AwsError) -> bool {
    matches!(error.kind(), AwsErrorKind::Settling | AwsErrorKind::Exists)
}

// === impl StoppedError ===

impl StoppedError {
    pub(crate) fn obstacle(row: &ResourcePlan) -> Self {
        let (why, hint) = match &row.action {
            PlannedAction::Refuse { why, hint } => (why.clone(), Some(hint.clone())),
            PlannedAction::Unknown { why, hint } => (why.clone(), hint.clone()),
            _ => (String::new(), None),
        };
        Self::Obstacle {
            resource: row.resource.clone(),
            why,
            hint,
        }
    }

    pub(crate) fn observe(source: AwsError) -> Self {
        Self::Observe(Box::new(source))
    }

    pub(crate) fn call(resource: &Address, source: AwsError) -> Self {
        Self::Call {
            resource: resource.clone(),
            source: Box::new(source),
        }
    }

    /// With the exit code that fits.
    pub fn into_failure(self) -> Failure {
        Failure::failed(self)
    }
}

impl Hint for StoppedError {
    fn hint(&self) -> Option<String> {
        let again = "run the same command again; it goes on where it stopped";
        match self {
            Self::Obstacle { hint, .. } => hint.clone(),
            Self::Call { source, .. } | Self::Observe(source) => {
                Some(source.hint().unwrap_or_else(|| again.into()))
            }
            Self::Timeout { .. } | Self::NotConverging { .. } => Some(again.into()),
            Self::UnplannedDisruption { .. } => {
                Some("run it again to see the plan as it is now".into())
            }
        }
    }
}

// One to make everything, one for what depends on something made in the first, one for what that changes, and two
// spare ones for changes that somebody else makes meanwhile.
const PASSES: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
