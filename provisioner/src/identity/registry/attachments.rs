//! What certificates are attached to: policies, which decide, and things, which are names.

use crate::aws::{AwsError, Optional as _, Outcome as _};
use crate::identity::IdentitySpec;

use super::Registry;

// === impl Registry ===

impl Registry<'_> {
    /// Ids of the certificates a policy is attached to; none when there is no such policy.
    pub(crate) async fn targets(self, policy: &str) -> Result<Vec<String>, AwsError> {
        let targets = self
            .account
            .iot
            .list_targets_for_policy()
            .policy_name(policy)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<String>, _>>()
            .await
            .during("iot:ListTargetsForPolicy", policy)
            .optional()?;
        // Thing groups and other principals can be targets too.
        let ids = targets.unwrap_or_default();
        let ids = ids.iter().filter_map(|arn| arn.split_once(":cert/"));
        Ok(ids.map(|(_, id)| id.to_owned()).collect())
    }

    /// Whether a certificate is attached to a thing.
    pub(crate) async fn is_principal(self, thing: &str, arn: &str) -> Result<bool, AwsError> {
        let principals = self
            .account
            .iot
            .list_thing_principals()
            .thing_name(thing)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<String>, _>>()
            .await
            .during("iot:ListThingPrincipals", thing)
            .optional()?;
        Ok(principals.unwrap_or_default().iter().any(|it| it == arn))
    }

    /// Attaches the party's policy and thing. Attaching twice is as attaching once.
    pub(crate) async fn attach(self, party: &IdentitySpec, arn: &str) -> Result<(), AwsError> {
        self.attach_policy(&party.policy, arn).await?;
        let Some(thing) = &party.thing else {
            return Ok(());
        };
        self.account
            .iot
            .attach_thing_principal()
            .thing_name(thing)
            .principal(arn)
            .send()
            .await
            .during("iot:AttachThingPrincipal", thing)?;
        Ok(())
    }

    pub(crate) async fn attach_policy(self, policy: &str, arn: &str) -> Result<(), AwsError> {
        self.account
            .iot
            .attach_policy()
            .policy_name(policy)
            .target(arn)
            .send()
            .await
            .during("iot:AttachPolicy", policy)?;
        Ok(())
    }

    /// Names of the policies a certificate carries itself, this region's or not; none when there is no such certificate.
    pub(crate) async fn policies(self, arn: &str) -> Result<Vec<String>, AwsError> {
        let policies = self
            .account
            .iot
            .list_attached_policies()
            .target(arn)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .during("iot:ListAttachedPolicies", arn)
            .optional()?;
        let policies = policies.unwrap_or_default().into_iter();
        Ok(policies.filter_map(|policy| policy.policy_name).collect())
    }

    /// Takes a certificate off every policy, then off every thing.
    pub(super) async fn detach(self, arn: &str) -> Result<(), AwsError> {
        let iot = &self.account.iot;
        for name in self.policies(arn).await? {
            iot.detach_policy()
                .policy_name(&name)
                .target(arn)
                .send()
                .await
                .during("iot:DetachPolicy", &name)
                .was_there()?;
        }
        let things = iot
            .list_principal_things()
            .principal(arn)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<String>, _>>()
            .await
            .during("iot:ListPrincipalThings", arn)
            .optional()?;
        for thing in things.unwrap_or_default() {
            iot.detach_thing_principal()
                .thing_name(&thing)
                .principal(arn)
                .send()
                .await
                .during("iot:DetachThingPrincipal", &thing)
                .was_there()?;
        }
        Ok(())
    }
}
