//! The difference between desired and observed state, resource by resource. Pure; [`crate::snapshot`] observes.
//!
//! A [`ResourcePlan`] says for one resource what is to be done and why, what that disrupts, and what a person must
//! decide.

use std::collections::BTreeMap;

use region_file::Problem;
use region_file::tags::Owner;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::aws::{AwsError, Cloud};
use crate::resource::{
    Address, Change, Difference, Facts, Manage as _, Note, Observed, Resource, State, compare,
};

pub use self::text::PlanTable;

mod text;

/// What would change, in the order it would be done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Version of this format; fields may be added within one.
    pub format_version: u32,
    /// One per resource.
    pub resources: Vec<ResourcePlan>,
    /// Things that carry this region's tag and are not in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Note>,
    /// What the file allows and probably does not mean.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
    #[serde(skip)]
    pub(crate) facts: Facts,
}

/// One resource.
#[derive(Clone, Debug, Serialize)]
pub struct ResourcePlan {
    /// Whose and which.
    #[serde(serialize_with = "address")]
    pub resource: Address,
    /// ARN or id of what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is to be done.
    #[serde(flatten)]
    pub action: PlannedAction,
    /// What cannot be put right by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decide: Vec<ManualDecision>,
    /// Attributes that are set once another resource is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<PendingAttribute>,
    /// What else a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// What is to be done with one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum PlannedAction {
    /// Nothing: it is as it should be.
    Keep,
    /// It is not there.
    Create {
        /// What it is made with: attributes, and what is set at creation only. What is not known yet is in `later`.
        after: BTreeMap<String, Value>,
    },
    /// Attributes are not as they should be.
    Update {
        /// Which.
        changes: Vec<Difference>,
        /// What that disrupts, as phrases.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        disrupts: Vec<String>,
    },
    /// AWS is still busy with it.
    Wait {
        /// AWS's word for it.
        #[serde(rename = "state")]
        state: String,
    },
    /// It must not be touched.
    Refuse {
        /// Why.
        why: String,
        /// The next step.
        hint: String,
    },
    /// It could not be looked at.
    Unknown {
        /// Why.
        why: String,
        /// The next step.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// A difference that only a person can settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ManualDecision {
    /// What differs.
    #[serde(flatten)]
    pub difference: Difference,
    /// Why it is not put right.
    pub why: String,
    /// What can be done.
    pub hint: String,
}

/// An attribute that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingAttribute {
    /// Which.
    pub attribute: String,
    /// For what, such as `the database`.
    #[serde(rename = "waitsFor")]
    pub waits_for: &'static str,
}

/// How many resources there are of each action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlanCounts {
    /// As they should be.
    pub kept: usize,
    /// To be created.
    pub created: usize,
    /// To be changed.
    pub updated: usize,
    /// Still settling.
    pub waiting: usize,
    /// Not to be touched, or not seen.
    pub blocked: usize,
    /// With a difference that a person must settle.
    pub undecided: usize,
}

// === impl Plan ===

impl Plan {
    /// Version of the format of `plan --json` and `apply --json`.
    pub const FORMAT_VERSION: u32 = 1;

    /// How many resources there are of each action.
    pub fn counts(&self) -> PlanCounts {
        let mut counts = PlanCounts::default();
        for row in &self.resources {
            *match row.action {
                PlannedAction::Keep => &mut counts.kept,
                PlannedAction::Create { .. } => &mut counts.created,
                PlannedAction::Update { .. } => &mut counts.updated,
                PlannedAction::Wait { .. } => &mut counts.waiting,
                PlannedAction::Refuse { .. } | PlannedAction::Unknown { .. } => &mut counts.blocked,
            } += 1;
            counts.undecided += usize::from(!row.decide.is_empty());
        }
        counts
    }

    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        let settled =
            |row: &ResourcePlan| row.action == PlannedAction::Keep && row.decide.is_empty();
        self.resources.iter().all(settled)
    }

    /// Resources that apply has something to do with.
    pub fn to_do(&self) -> impl Iterator<Item = &ResourcePlan> {
        self.resources.iter().filter(|row| row.action.is_work())
    }

    /// The first resource that stands in the way of everything.
    pub fn obstacle(&self) -> Option<&ResourcePlan> {
        self.resources.iter().find(|row| {
            matches!(
                row.action,
                PlannedAction::Refuse { .. } | PlannedAction::Unknown { .. }
            )
        })
    }
}

// === impl ResourcePlan ===

impl ResourcePlan {
    /// Compares the desired with the observed state of one resource.
    pub fn of(
        resource: &Resource,
        observed: Result<Option<&Observed>, &AwsError>,
        cloud: &Cloud,
        facts: &Facts,
    ) -> Self {
        let mut row = Self {
            resource: resource.address(),
            id: None,
            action: PlannedAction::Keep,
            decide: Vec::new(),
            later: Vec::new(),
            notes: Vec::new(),
        };
        match observed {
            Err(error) => row.action = PlannedAction::unknown(error),
            Ok(None) => {
                let wanted = resource.wanted(cloud, facts);
                let (differences, later) = compare(&wanted, &BTreeMap::new());
                let mut after = resource.set_at_creation();
                after.extend(differences.into_iter().map(|it| (it.attribute, it.want)));
                row.later = waiting(later);
                row.action = PlannedAction::Create { after };
            }
            Ok(Some(there)) => row.compare_with(there, resource, cloud, facts),
        }
        row
    }

    fn compare_with(
        &mut self,
        there: &Observed,
        resource: &Resource,
        cloud: &Cloud,
        facts: &Facts,
    ) {
        self.id.clone_from(&there.id);
        self.notes.clone_from(&there.notes);
        if let Some(refusal) = foreign(&there.owner) {
            self.action = refusal;
            return;
        }
        match &there.state {
            State::Ready => {}
            State::Settling(state) => {
                self.action = PlannedAction::Wait {
                    state: state.clone(),
                };
                return;
            }
            State::Broken { why, hint } => {
                self.action = PlannedAction::Refuse {
                    why: why.clone(),
                    hint: hint.clone(),
                };
                return;
            }
        }
        let (differences, later) = compare(&resource.wanted(cloud, facts), &there.attributes);
        self.later = waiting(later);
        let (mut changes, mut disrupts) = (Vec::new(), Vec::new());
        for difference in differences {
            match resource.change(&difference) {
                Change::Quiet => changes.push(difference),
                Change::Disrupts(what) => {
                    changes.push(difference);
                    if !disrupts.contains(&what) {
                        disrupts.push(what);
                    }
                }
                Change::Impossible { why, hint } => {
                    self.decide.push(ManualDecision {
                        difference,
                        why,
                        hint,
                    });
                }
            }
        }
        if !changes.is_empty() {
            self.action = PlannedAction::Update { changes, disrupts };
        }
    }
}

// === impl PlannedAction ===

impl PlannedAction {
    /// Whether apply has something to do.
    pub fn is_work(&self) -> bool {
        matches!(
            self,
            Self::Create { .. } | Self::Update { .. } | Self::Wait { .. }
        )
    }

    /// What it disrupts.
    pub fn disrupts(&self) -> &[String] {
        match self {
            Self::Update { disrupts, .. } => disrupts,
            _ => &[],
        }
    }

    fn unknown(error: &AwsError) -> Self {
        use link::error::Hint as _;
        Self::Unknown {
            why: error.to_string(),
            hint: error.hint(),
        }
    }
}

fn foreign(owner: &Owner) -> Option<PlannedAction> {
    match owner {
        Owner::Ours | Owner::Shared => None,
        Owner::Other(region) => Some(PlannedAction::Refuse {
            why: format!("it belongs to the region `{region}`"),
            hint: "choose another name under `names:` in the file".into(),
        }),
        Owner::Nobody => Some(PlannedAction::Refuse {
            why: "something of this name is there and carries no mark of ours".into(),
            hint: "run `provisioner adopt` if it is this region's, or choose another name under `names:`".into(),
        }),
    }
}

fn waiting(later: Vec<(String, &'static str)>) -> Vec<PendingAttribute> {
    later
        .into_iter()
        .map(|(attribute, waits_for)| PendingAttribute {
            attribute,
            waits_for,
        })
        .collect()
}

fn address<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}
