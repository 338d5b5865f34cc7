//! An EKS Pod Identity association: which service account gets which role.
//!
//! EKS puts the address of the credentials into a pod when the pod is made: a pod that was there before its
//! association gets none until it is restarted. The role must be visible to EKS, which takes some seconds after IAM
//! has made it; until then EKS says that it does not exist.

use std::collections::BTreeMap;

use aws_sdk_eks::types::PodIdentityAssociation;
use region_file::tags::Tags;
use serde_json::Value;

use crate::aws::{Account, AwsError, Cloud, Optional, Outcome};
use crate::scope::Scope;

use super::{
    Change, DesiredValue, Difference, Facts, Manage, Note, Observed, attributes, eks, role,
};

/// An EKS Pod Identity association: which service account gets which role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// Whose account.
    pub scope: Scope,
    /// Its tags.
    pub tags: Tags,
    /// The EKS cluster.
    pub cluster: String,
    /// Namespace of the service account.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// Name of the role, in the same account.
    pub role: String,
}

impl Manage for PodIdentity {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        let account = cloud.of(&self.scope)?;
        let Some(id) = self.find(account).await? else {
            return Ok(None);
        };
        let live = self.describe(account, &id).await?;
        Ok(live.map(|live| self.observed(&live)))
    }

    fn wanted(&self, cloud: &Cloud, _facts: &Facts) -> BTreeMap<String, DesiredValue> {
        let role = match cloud.of(&self.scope) {
            Ok(account) => DesiredValue::Known(role::arn(account, &self.role).into()),
            Err(_) => DesiredValue::After("credentials for the account"),
        };
        attributes([
            ("role", role),
            ("tags", DesiredValue::Known(self.tags.wanted())),
        ])
    }

    fn change(&self, difference: &Difference) -> Change {
        match difference.attribute.as_str() {
            "role" => {
                Change::Disrupts("running pods keep the old role until they are restarted".into())
            }
            _ => Change::Quiet,
        }
    }

    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        attributes([
            ("cluster", self.cluster.as_str().into()),
            ("namespace", self.namespace.as_str().into()),
            ("serviceAccount", self.service_account.as_str().into()),
        ])
    }

    async fn create(&self, cloud: &Cloud, _facts: &Facts) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let request = account
            .eks
            .create_pod_identity_association()
            .cluster_name(&self.cluster)
            .namespace(&self.namespace)
            .service_account(&self.service_account)
            .role_arn(role::arn(account, &self.role));
        let request = request.set_tags(Some(self.tags.to_map()));
        let done = request.send().await;
        done.during("eks:CreatePodIdentityAssociation", &self.object())?;
        Ok(())
    }

    async fn update(
        &self,
        cloud: &Cloud,
        _facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        let Some(id) = self.find(account).await? else {
            return Ok(());
        };
        for difference in differences {
            match difference.attribute.as_str() {
                "role" => {
                    let request = account
                        .eks
                        .update_pod_identity_association()
                        .cluster_name(&self.cluster)
                        .association_id(&id)
                        .role_arn(role::arn(account, &self.role));
                    let done = request.send().await;
                    done.during("eks:UpdatePodIdentityAssociation", &self.object())?;
                }
                "tags" => self.tag(account, &id).await?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        // Without the cluster there is no association either.
        let Some(id) = self.find(account).await.optional()?.flatten() else {
            return Ok(());
        };
        let request = account
            .eks
            .delete_pod_identity_association()
            .cluster_name(&self.cluster)
            .association_id(id);
        let done = request.send().await;
        done.during("eks:DeletePodIdentityAssociation", &self.object())
            .was_there()?;
        Ok(())
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        let account = cloud.of(&self.scope)?;
        match self.find(account).await? {
            Some(id) => self.tag(account, &id).await,
            None => Ok(()),
        }
    }
}

impl PodIdentity {
    /// Its id: EKS keeps at most one per cluster, namespace and service account. A missing cluster is an error, in
    /// EKS's words.
    async fn find(&self, account: &Account) -> Result<Option<String>, AwsError> {
        let request = account
            .eks
            .list_pod_identity_associations()
            .cluster_name(&self.cluster)
            .namespace(&self.namespace)
            .service_account(&self.service_account);
        let answer = request.send().await;
        let answer = answer.during("eks:ListPodIdentityAssociations", &self.object())?;
        let first = answer.associations().iter().find(|it| {
            it.namespace() == Some(&self.namespace)
                && it.service_account() == Some(&self.service_account)
        });
        Ok(first.and_then(|it| it.association_id.clone()))
    }

    async fn describe(
        &self,
        account: &Account,
        id: &str,
    ) -> Result<Option<PodIdentityAssociation>, AwsError> {
        let request = account
            .eks
            .describe_pod_identity_association()
            .cluster_name(&self.cluster)
            .association_id(id);
        let answer = request.send().await;
        let answer = answer
            .during("eks:DescribePodIdentityAssociation", &self.object())
            .optional()?;
        Ok(answer.and_then(|answer| answer.association))
    }

    fn observed(&self, live: &PodIdentityAssociation) -> Observed {
        let tags = live.tags().into_iter().flatten();
        let (owner, tags) = self
            .tags
            .observed(tags.map(|(key, value)| (key.as_str(), value.as_str())));
        let attributes = attributes([("role", live.role_arn().into()), ("tags", tags)]);
        let id = live.association_arn().map(str::to_owned);
        let mut observed = Observed::ready(owner, attributes, id);
        if let Some(target) = live.target_role_arn() {
            observed.notes.push(Note {
                text: format!("its pods take `{target}` through the role"),
                hint: "remove the target role, for the secrets are in the cluster's account".into(),
            });
        }
        observed
    }

    async fn tag(&self, account: &Account, id: &str) -> Result<(), AwsError> {
        let Some(live) = self.describe(account, id).await? else {
            return Ok(());
        };
        eks::tag(account, live.association_arn, &self.tags, &self.object()).await
    }

    fn object(&self) -> String {
        format!(
            "{}/{}/{}",
            self.cluster, self.namespace, self.service_account
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use region_file::tags::Owner;

    fn association() -> PodIdentity {
        PodIdentity {
            scope: Scope::Region,
            tags: Tags::new("r1", &BTreeMap::new()),
            cluster: "eks-1".into(),
            namespace: "maestro-server".into(),
            service_account: "maestro-server".into(),
            role: "r1-maestro-server".into(),
        }
    }

    fn live() -> aws_sdk_eks::types::builders::PodIdentityAssociationBuilder {
        PodIdentityAssociation::builder()
            .role_arn("arn:aws:iam::111122223333:role/r1-maestro-server")
            .association_arn("arn:aws:eks:eu-west-1:111122223333:podidentityassociation/eks-1/a-1")
    }

    #[test]
    fn an_association_without_a_mark_is_nobodys() {
        let observed = association().observed(&live().build());
        assert_eq!(observed.owner, Owner::Nobody);
        let role = json!("arn:aws:iam::111122223333:role/r1-maestro-server");
        assert_eq!(observed.attributes["role"], role);
        let wanted = association().wanted(&Cloud::default(), &Facts::default());
        assert!(wanted.keys().eq(observed.attributes.keys()));
    }

    #[test]
    fn the_mark_makes_it_ours() {
        let live = live().tags("provisioner:region", "r1");
        assert_eq!(association().observed(&live.build()).owner, Owner::Ours);
    }

    #[test]
    fn a_target_role_is_told() {
        let live = live().target_role_arn("arn:aws:iam::444455556666:role/x");
        assert_eq!(association().observed(&live.build()).notes.len(), 1);
    }

    #[test]
    fn another_role_is_noticed_by_running_pods() {
        let difference = Difference {
            attribute: "role".into(),
            have: json!("a"),
            want: json!("b"),
        };
        assert!(matches!(
            association().change(&difference),
            Change::Disrupts(_)
        ));
    }
}
