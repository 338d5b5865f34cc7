//! The policies that a party's certificate carries in AWS.

use link::iot::Document;

use crate::aws::{Cloud, Outcome as _};
use crate::identity::{self, registry::Registry};
use crate::scope::Scope;

/// The documents of every policy attached to the certificates that carry `policy`; those of another policy too, for
/// they count as much.
///
/// A document that cannot be read here makes unknown what it takes part in ([`Document::read`]).
///
/// # Errors
/// When a call is refused.
pub async fn documents(
    cloud: &Cloud,
    policy: &str,
) -> Result<Vec<Document>, identity::IdentityError> {
    let account = cloud.of(&Scope::Region)?;
    let iot = &account.iot;
    let targets = Registry::of(cloud)?.targets(policy).await?;
    let mut names = Vec::new();
    for id in targets {
        let target = account.arn("iot", &format!("cert/{id}"));
        let attached = iot
            .list_attached_policies()
            .target(&target)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .during("iot:ListAttachedPolicies", &target)?;
        let attached = attached.into_iter().filter_map(|policy| policy.policy_name);
        names.extend(attached);
    }
    names.sort();
    names.dedup();
    let mut documents = Vec::new();
    for name in names {
        let answer = iot.get_policy().policy_name(&name).send().await;
        let answer = answer.during("iot:GetPolicy", &name)?;
        let text = answer.policy_document.unwrap_or_default();
        documents.push(Document::read(&text).named(&name));
    }
    Ok(documents)
}
