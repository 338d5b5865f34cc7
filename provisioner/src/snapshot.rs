//! The state of all resources at one moment, and the plan that follows from it.

use futures_util::StreamExt as _;

use crate::aws::{AwsError, Cloud};
use crate::plan::{Plan, ResourcePlan};
use crate::resource::{Facts, Manage as _, Observed, Resource};
use crate::scope::Scope;

/// The observations of all resources at one moment, and the facts that several resources need.
#[derive(Debug)]
pub struct Snapshot {
    /// One per resource, in their order.
    pub observations: Vec<Result<Option<Observed>, AwsError>>,
    /// What AWS said.
    pub facts: Facts,
}

impl Snapshot {
    /// Observes every resource. Reads only.
    ///
    /// # Errors
    /// When the broker's endpoint cannot be read. A resource that cannot be read has its error in the list.
    pub async fn take(cloud: &Cloud, resources: &[Resource]) -> Result<Self, AwsError> {
        let mut facts = Facts {
            endpoint: endpoint(cloud).await?,
            ..Facts::default()
        };
        let observations: Vec<_> = futures_util::stream::iter(resources)
            .map(|resource| resource.observe(cloud))
            .buffered(AT_ONCE)
            .collect()
            .await;
        for observed in observations.iter().flatten().flatten() {
            facts.learn(&observed.facts);
        }
        Ok(Self {
            observations,
            facts,
        })
    }

    /// What would change.
    pub fn plan(&self, cloud: &Cloud, resources: &[Resource]) -> Plan {
        let rows = resources
            .iter()
            .zip(&self.observations)
            .map(|(resource, observed)| {
                let observed = observed.as_ref().map(Option::as_ref);
                ResourcePlan::of(resource, observed, cloud, &self.facts)
            });
        Plan {
            format_version: Plan::FORMAT_VERSION,
            resources: rows.collect(),
            leftovers: Vec::new(),
            warnings: Vec::new(),
            facts: self.facts.clone(),
        }
    }
}

/// The region's broker; none when this command has no credentials for it.
async fn endpoint(cloud: &Cloud) -> Result<Option<String>, AwsError> {
    match cloud.of(&Scope::Region) {
        Ok(account) => account.broker().await.map(Some),
        Err(_) => Ok(None),
    }
}

// Read calls under way at once: well below every service's rate, and a region is seen in some seconds.
const AT_ONCE: usize = 8;
