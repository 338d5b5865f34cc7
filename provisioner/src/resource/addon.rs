//! An add-on of an EKS cluster.
//!
//! A cluster has one add-on of a name, and it serves everybody on it. So one that is not marked as this region's
//! (installed by the cluster's owner, or by another region) is shared: it counts as ours in a plan, and its other settings
//! and its tags are left alone.
//!
//! **Invariant:** none is ever removed. Even one that was installed for this region may be used by others by
//! now, and their pods would lose the driver that mounts their secrets.
//!
//! The version is AWS's default at the time of creation and the cluster owner's business afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_eks::types::{Addon as Live, AddonStatus, ResolveConflicts};
use region_file::tags::{Owner, Tags};
use serde_json::Value;

use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional, Outcome};
use crate::scope::Scope;

use super::{Change, DesiredValue, Difference, Facts, Manage, Observed, State, attributes, eks};

mod settings;

/// An add-on of an EKS cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addon {
    /// Whose account.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// The EKS cluster.
    pub cluster: String,
    /// Settings that must hold, others are left alone; an object.
    pub configuration: Value,
}

impl Manage for Addon {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let account = cloud.of(&self.scope)?;
        let live = self.describe(account).await?;
        if live.is_none() {
            cluster_is_there(account, &self.cluster).await?;
        }
        Ok(live.map(|live| self.observed(&live)))
    }

    fn wanted(&self, _cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, DesiredValue> {
        attributes([
            (
                "configuration",
                DesiredValue::Known(self.configuration.clone()),
            ),
            ("tags", DesiredValue::Known(self.tags.wanted())),
        ])
    }

    fn change(&self, difference: &Difference) -> Change {
        match difference.attribute.as_str() {
            "configuration" => Change::Disrupts(
                "restarts the add-on's pods on the cluster's nodes one after the other".into(),
            ),
            _ => Change::Quiet,
        }
    }

    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        attributes([("cluster", self.cluster.as_str().into())])
    }

    /// `NONE`: what somebody installed without EKS under the same names is not taken over silently; the add-on then
    /// fails and says which object is in its way.
    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let request = account
            .eks
            .create_addon()
            .cluster_name(&self.cluster)
            .addon_name(&self.name)
            .set_configuration_values(settings::text(&self.configuration))
            .resolve_conflicts(ResolveConflicts::None);
        let request = request.set_tags(Some(self.tags.to_map()));
        let done = request.send().await;
        done.during("eks:CreateAddon", &self.object())?;
        Ok(())
    }

    /// `PRESERVE`: what the cluster's owner changed on the add-on's objects stays, for the cluster is not ours.
    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let Some(live) = self.describe(account).await? else {
            return Ok(());
        };
        let differs = |name: &str| differences.iter().any(|it| it.attribute == name);
        if differs("configuration") {
            let before = settings::parse(live.configuration_values());
            let merged = settings::merged(before, &self.configuration);
            let request = account
                .eks
                .update_addon()
                .cluster_name(&self.cluster)
                .addon_name(&self.name)
                .set_configuration_values(settings::text(&merged))
                .resolve_conflicts(ResolveConflicts::Preserve);
            let done = request.send().await;
            done.during("eks:UpdateAddon", &self.object())?;
        }
        if differs("tags") {
            self.tag(account, &live).await?;
        }
        Ok(())
    }

    /// Does nothing; `destroy` says that it stays (`crate::destroy`).
    async fn delete(&self, _cloud: &Cloud) -> Result<(), AwsError> {
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        match self.describe(account).await? {
            Some(live) => self.tag(account, &live).await,
            None => Ok(()),
        }
    }

    /// Pods are started on every node.
    fn patience(&self) -> Duration {
        Duration::from_secs(15 * 60)
    }
}

impl Addon {
    /// None also if there is no such cluster.
    async fn describe(&self, account: &Account) -> Result<Option<Live>, AwsError> {
        let request = account.eks.describe_addon().cluster_name(&self.cluster);
        let answer = request.addon_name(&self.name).send().await;
        let answer = answer
            .during("eks:DescribeAddon", &self.object())
            .optional()?;
        Ok(answer.and_then(|answer| answer.addon))
    }

    fn observed(&self, live: &Live) -> Observed {
        let (mark, tags) = self.mark(live);
        // Without our mark it is shared, and its tags are none of our business.
        let owner = match mark {
            Owner::Ours => Owner::Ours,
            _ => Owner::Shared,
        };
        let tags = match mark {
            Owner::Ours => tags,
            _ => self.tags.wanted(),
        };
        let configuration = settings::parse(live.configuration_values());
        let attributes = attributes([
            (
                "configuration",
                settings::projected(&configuration, &self.configuration),
            ),
            ("tags", tags),
        ]);
        let id = live.addon_arn().map(str::to_owned);
        let mut observed = Observed::ready(owner, attributes, id);
        observed.state = self.state(live);
        observed
    }

    /// What its tags say, shared or not.
    fn mark(&self, live: &Live) -> (Owner, Value) {
        let tags = live.tags().into_iter().flatten();
        self.tags
            .observed(tags.map(|(key, value)| (key.as_str(), value.as_str())))
    }

    fn state(&self, live: &Live) -> State {
        let status = live.status();
        let word = status.map_or("UNKNOWN", AddonStatus::as_str);
        match status {
            Some(AddonStatus::Active) => State::Ready,
            Some(
                AddonStatus::CreateFailed
                | AddonStatus::UpdateFailed
                | AddonStatus::DeleteFailed
                | AddonStatus::Degraded,
            ) => State::Broken {
                why: format!("{word}{}", issues(live)),
                hint: format!(
                    "put right what it says, then run `aws eks describe-addon --cluster-name {} --addon-name {}`",
                    self.cluster, self.name
                ),
            },
            _ => State::Settling(word.to_owned()),
        }
    }

    async fn tag(&self, account: &Account, live: &Live) -> Result<(), AwsError> {
        eks::tag(account, live.addon_arn.clone(), &self.tags, &self.object()).await
    }

    fn object(&self) -> String {
        format!("{}/{}", self.cluster, self.name)
    }
}

/// EKS calls a missing add-on and a missing cluster by the same code, and only one of them can be put right here.
///
/// # Errors
/// [`AwsErrorKind::NotFound`] for a missing cluster, or the failed call.
async fn cluster_is_there(account: &Account, cluster: &str) -> Result<(), AwsError> {
    let action = "eks:DescribeCluster";
    let request = account.eks.describe_cluster().name(cluster);
    if request.send().await.during(action, cluster).was_there()? {
        return Ok(());
    }
    let why = format!(
        "there is no EKS cluster of this name in account {}, region {}",
        account.id, account.region
    );
    Err(AwsError::new(AwsErrorKind::NotFound, action, cluster, why))
}

/// What EKS says is wrong, after a colon.
fn issues(live: &Live) -> String {
    let issues = live.health().map(|health| health.issues());
    let told: Vec<String> = issues
        .unwrap_or_default()
        .iter()
        .map(|issue| {
            let code = issue.code().map_or("", |code| code.as_str());
            format!("{code} {}", issue.message().unwrap_or_default())
        })
        .map(|told| told.trim().to_owned())
        .collect();
    match told.is_empty() {
        true => String::new(),
        false => format!(": {}", told.join("; ")),
    }
}

#[cfg(test)]
mod tests;
