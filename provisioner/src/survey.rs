//! Looking at everything there is: observations of all resources, and the plan that follows from them.

use futures_util::StreamExt as _;

use crate::aws::{Cloud, Error, ErrorKind, Outcome as _};
use crate::plan::{Plan, Row};
use crate::resource::{Facts, Manage as _, Observed, Resource};
use crate::scope::Scope;

/// What is there for each wish, in their order, and what follows for all.
#[derive(Debug)]
pub struct Survey {
    /// One per resource.
    pub observations: Vec<Result<Option<Observed>, Error>>,
    /// What AWS said.
    pub facts: Facts,
}

impl Survey {
    /// Looks at every resource. Reads only.
    ///
    /// # Errors
    /// When the broker's endpoint cannot be read. What cannot be read of a resource is told in its place.
    pub async fn of(cloud: &Cloud, resources: &[Resource]) -> Result<Self, Error> {
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
                Row::of(resource, observed, cloud, &self.facts)
            });
        Plan {
            resources: rows.collect(),
            leftovers: Vec::new(),
            facts: self.facts.clone(),
        }
    }
}

/// The region's broker; none when this command has no credentials for it.
async fn endpoint(cloud: &Cloud) -> Result<Option<String>, Error> {
    let Ok(account) = cloud.of(&Scope::Region) else {
        return Ok(None);
    };
    let action = "iot:DescribeEndpoint";
    let answer = account
        .iot
        .describe_endpoint()
        .endpoint_type(ENDPOINT_TYPE)
        .send()
        .await
        .during(action, ENDPOINT_TYPE)?;
    let host = answer.endpoint_address.filter(|host| !host.is_empty());
    match host {
        Some(host) => Ok(Some(host)),
        None => Err(Error::new(
            ErrorKind::Other,
            action,
            ENDPOINT_TYPE,
            "the answer is empty",
        )),
    }
}

// The legacy `iot:Data` endpoint has another root certificate (docs/IOT-CORE.md §1.6).
const ENDPOINT_TYPE: &str = "iot:Data-ATS";
// Read calls under way at once: well below every service's rate, and a region is seen in some seconds.
const AT_ONCE: usize = 8;
