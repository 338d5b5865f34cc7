//! Checks before anything is changed: that the operator's VPC, subnets, security groups and clusters exist, and that the
//! caller has the permissions that the plan needs. Read-only.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use link::error::Hint;
use tracing::debug;

use crate::aws::{Account, AwsError, AwsErrorKind, Cloud, Optional as _, Outcome as _, ec2};
use crate::permissions;
use crate::plan::Plan;
use crate::resource::Resource;
use crate::scope::Scope;

/// Something is missing, and nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// What the file names is not there, or not as it must be.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Missing(Vec<Missing>),
    /// The caller may not do what the plan needs.
    #[error("`{caller}` may not {} in the account of `{scope}`", .actions.join(", "))]
    Permission {
        /// Whose account.
        scope: Scope,
        /// Who.
        caller: String,
        /// What is missing, by name of action.
        actions: Vec<String>,
    },
    /// It could not be looked at.
    #[error("check what the region needs")]
    Observe(#[source] Box<AwsError>),
}

/// One thing the file names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: `{value}` {problem}")]
pub struct Missing {
    field: String,
    value: String,
    problem: String,
}

/// Checks what these resources need and do not make themselves. Reads only.
///
/// # Errors
/// [`PreflightError::Missing`] with everything that is missing.
pub async fn prerequisites(cloud: &Cloud, resources: &[Resource]) -> Result<(), PreflightError> {
    let mut missing = Vec::new();
    let mut clusters = BTreeSet::new();
    for resource in resources {
        match resource {
            Resource::SecurityGroup(group) => {
                let account = reach(cloud, &group.scope)?;
                let sources: Vec<_> = group.sources.keys().cloned().collect();
                vpc(account, &group.vpc, &mut missing).await?;
                security_groups(account, &group.vpc, &sources, &mut missing).await?;
            }
            Resource::SubnetGroup(group) => {
                let account = reach(cloud, &group.scope)?;
                let vpc = resources.iter().find_map(|other| match other {
                    Resource::SecurityGroup(group) => Some(group.vpc.as_str()),
                    _ => None,
                });
                subnets(
                    account,
                    vpc.unwrap_or_default(),
                    &group.subnets,
                    &mut missing,
                )
                .await?;
            }
            Resource::Addon(it) => {
                clusters.insert((it.scope.clone(), it.cluster.clone()));
            }
            Resource::PodIdentity(it) => {
                clusters.insert((it.scope.clone(), it.cluster.clone()));
            }
            _ => {}
        }
    }
    for (scope, cluster) in &clusters {
        eks_cluster(reach(cloud, scope)?, scope, cluster, &mut missing).await?;
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PreflightError::Missing(missing))
    }
}

/// Asks IAM whether the callers may do all that the plan needs. A caller who may not ask is not refused for it: then
/// the first call that is denied says so.
///
/// # Errors
/// [`PreflightError::Permission`] with the names of the actions.
pub async fn allowed(cloud: &Cloud, plan: &Plan) -> Result<(), PreflightError> {
    let mut wanted: BTreeMap<Scope, BTreeSet<&'static str>> = BTreeMap::new();
    for row in plan.to_do() {
        for (scope, action) in permissions::to_make(&row.resource) {
            wanted.entry(scope).or_default().insert(action);
        }
    }
    for (scope, actions) in wanted {
        let Ok(account) = cloud.of(&scope) else {
            continue;
        };
        let denied = denied(account, &actions).await;
        if !denied.is_empty() {
            let caller = account.caller.clone();
            return Err(PreflightError::Permission {
                scope,
                caller,
                actions: denied,
            });
        }
    }
    Ok(())
}

async fn denied(account: &Account, actions: &BTreeSet<&'static str>) -> Vec<String> {
    let Some(principal) = principal(&account.caller) else {
        return Vec::new();
    };
    let answer = account
        .iam
        .simulate_principal_policy()
        .policy_source_arn(&principal)
        .set_action_names(Some(
            actions.iter().map(|action| (*action).to_owned()).collect(),
        ))
        .send()
        .await
        .during("iam:SimulatePrincipalPolicy", &principal);
    match answer {
        Ok(answer) => {
            let denied = answer
                .evaluation_results()
                .iter()
                .filter(|result| *result.eval_decision() != PolicyEvaluationDecisionType::Allowed);
            denied
                .map(|result| result.eval_action_name().to_owned())
                .collect()
        }
        Err(error) => {
            debug!(%error, "Permissions could not be checked beforehand");
            Vec::new()
        }
    }
}

/// Whose policies count for a caller: the role behind a session, or the user. None for an account's root, who may
/// do everything.
fn principal(caller: &str) -> Option<String> {
    let mut parts = caller.splitn(6, ':');
    let (arn, partition) = (parts.next()?, parts.next()?);
    let account = parts.nth(2)?;
    let rest = parts.next()?;
    if let Some(session) = rest.strip_prefix("assumed-role/") {
        let role = session.split('/').next()?;
        return Some(format!("{arn}:{partition}:iam::{account}:role/{role}"));
    }
    rest.starts_with("user/").then(|| caller.to_owned())
}

fn reach<'a>(cloud: &'a Cloud, scope: &Scope) -> Result<&'a Account, PreflightError> {
    cloud.of(scope).map_err(PreflightError::observe)
}

async fn vpc(
    account: &Account,
    vpc: &str,
    missing: &mut Vec<Missing>,
) -> Result<(), PreflightError> {
    let found = account
        .ec2
        .call(ec2::describe_vpcs(vpc))
        .await
        .during("ec2:DescribeVpcs", vpc)
        .was_there()
        .map_err(PreflightError::observe)?;
    if !found {
        missing.push(Missing::new(
            "network.vpc",
            vpc,
            format!("is not in {}", account.location()),
        ));
    }
    Ok(())
}

async fn security_groups(
    account: &Account,
    vpc: &str,
    groups: &[String],
    missing: &mut Vec<Missing>,
) -> Result<(), PreflightError> {
    for group in groups {
        let found = account
            .ec2
            .call(ec2::describe_security_group(group))
            .await
            .during("ec2:DescribeSecurityGroups", group)
            .optional()
            .map_err(PreflightError::observe)?;
        let found = found.as_ref().and_then(|answer| answer.items.first());
        let problem = match found {
            None => format!("is not in {}", account.location()),
            Some(group) if group.vpc_id.as_deref() != Some(vpc) => {
                format!(
                    "is in `{}`, not in `{vpc}`",
                    group.vpc_id.as_deref().unwrap_or("no VPC")
                )
            }
            Some(_) => continue,
        };
        missing.push(Missing::new(
            "eks.securityGroups or eks.bastionSecurityGroup",
            group,
            problem,
        ));
    }
    Ok(())
}

async fn subnets(
    account: &Account,
    vpc: &str,
    subnets: &[String],
    missing: &mut Vec<Missing>,
) -> Result<(), PreflightError> {
    let mut zones = BTreeSet::new();
    for (index, subnet) in subnets.iter().enumerate() {
        let found = account
            .ec2
            .call(ec2::describe_subnets(subnet))
            .await
            .during("ec2:DescribeSubnets", subnet)
            .optional()
            .map_err(PreflightError::observe)?;
        let found = found.as_ref().and_then(|subnets| subnets.first());
        let problem = match found {
            None => format!("is not in {}", account.location()),
            Some(subnet) if subnet.vpc_id.as_deref() != Some(vpc) => {
                format!(
                    "is in `{}`, not in `{vpc}`",
                    subnet.vpc_id.as_deref().unwrap_or("no VPC")
                )
            }
            Some(subnet) => {
                zones.extend(subnet.availability_zone.clone());
                continue;
            }
        };
        missing.push(Missing::new(
            format!("network.privateSubnets[{index}]"),
            subnet,
            problem,
        ));
    }
    if zones.len() == 1 {
        let all = subnets.join(", ");
        missing.push(Missing::new(
            "network.privateSubnets",
            &all,
            "are all in one zone; a database needs two",
        ));
    }
    Ok(())
}

async fn eks_cluster(
    account: &Account,
    scope: &Scope,
    cluster: &str,
    missing: &mut Vec<Missing>,
) -> Result<(), PreflightError> {
    let found = account
        .eks
        .describe_cluster()
        .name(cluster)
        .send()
        .await
        .during("eks:DescribeCluster", cluster)
        .was_there()
        .map_err(PreflightError::observe)?;
    if !found {
        let field = match scope {
            Scope::Region => "eks.cluster".to_owned(),
            Scope::Cluster(id) => format!("eksCluster of management cluster `{id}`"),
        };
        missing.push(Missing::new(
            field,
            cluster,
            format!("is not in {}", account.location()),
        ));
    }
    Ok(())
}

// === impl PreflightError ===

impl PreflightError {
    fn observe(error: AwsError) -> Self {
        Self::Observe(Box::new(error))
    }
}

impl Hint for PreflightError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) => Some("put the right ids into the file; nothing was changed".into()),
            Self::Permission { .. } => Some(
                "give the caller what `provisioner permissions` prints; nothing was changed".into(),
            ),
            Self::Observe(source) if source.kind() == AwsErrorKind::Denied => Some(format!(
                "give the caller permission `{}`; `provisioner permissions` prints all that is needed",
                source.action()
            )),
            Self::Observe(source) => source.hint(),
        }
    }
}

// === impl Missing ===

impl Missing {
    fn new(field: impl Into<String>, value: &str, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            value: value.to_owned(),
            problem: problem.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::principal;

    #[test]
    fn the_policies_of_a_session_are_its_roles() {
        let session = "arn:aws:sts::111122223333:assumed-role/Admin/alice";
        assert_eq!(
            principal(session).as_deref(),
            Some("arn:aws:iam::111122223333:role/Admin")
        );
        let user = "arn:aws:iam::111122223333:user/alice";
        assert_eq!(principal(user).as_deref(), Some(user));
        assert_eq!(principal("arn:aws:iam::111122223333:root"), None);
        assert_eq!(principal(""), None);
    }
}
