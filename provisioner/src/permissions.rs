//! What the provisioner itself needs to be allowed, by name of action: for the check before an apply, and for the
//! policy that `provisioner permissions` prints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::resource::{Address, Resource};
use crate::scope::Scope;

/// The actions that making or changing a resource may take, with the account each is asked in.
pub fn to_make(resource: &Address) -> Vec<(Scope, &'static str)> {
    select(resource, |needs| &needs.make)
}

/// The policies that a person or a pipeline needs for these resources, one per account.
pub fn policies(resources: &[Resource]) -> BTreeMap<Scope, Value> {
    let mut actions: BTreeMap<Scope, BTreeSet<&'static str>> = BTreeMap::new();
    for resource in resources {
        let address = resource.address();
        for part in [
            |n: &'static Needs| &n.read,
            |n: &'static Needs| &n.make,
            |n: &'static Needs| &n.remove,
        ] {
            for (scope, action) in select(&address, part) {
                actions.entry(scope).or_default().insert(action);
            }
        }
    }
    let policy = |(scope, actions): (Scope, BTreeSet<&'static str>)| {
        let always = ["iam:SimulatePrincipalPolicy", "sts:GetCallerIdentity"];
        let all: BTreeSet<_> = actions.into_iter().chain(always).collect();
        let statement = json!({
            "Sid": "Provisioner",
            "Effect": "Allow",
            "Action": all,
            "Resource": "*",
        });
        (
            scope,
            json!({"Version": "2012-10-17", "Statement": [statement]}),
        )
    };
    actions.into_iter().map(policy).collect()
}

fn select(
    resource: &Address,
    part: impl Fn(&'static Needs) -> &'static &'static [&'static str],
) -> Vec<(Scope, &'static str)> {
    let Some((_, needs)) = NEEDS.iter().find(|(kind, _)| *kind == resource.kind) else {
        return Vec::new();
    };
    let scope = |action: &&'static str| {
        // A certificate is always in the region's account, wherever its key is kept.
        let of_the_broker = action.starts_with("iot:");
        let scope = if of_the_broker {
            Scope::Region
        } else {
            resource.scope.clone()
        };
        (scope, *action)
    };
    part(needs).iter().map(scope).collect()
}

struct Needs {
    read: &'static [&'static str],
    make: &'static [&'static str],
    remove: &'static [&'static str],
}

const NEEDS: &[(&str, Needs)] = &[
    (
        "security-group",
        Needs {
            read: &["ec2:DescribeVpcs", "ec2:DescribeSecurityGroups"],
            make: &[
                "ec2:CreateSecurityGroup",
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:RevokeSecurityGroupIngress",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:CreateTags",
            ],
            remove: &["ec2:DeleteSecurityGroup"],
        },
    ),
    (
        "subnet-group",
        Needs {
            read: &[
                "ec2:DescribeSubnets",
                "rds:DescribeDBSubnetGroups",
                "rds:ListTagsForResource",
            ],
            make: &[
                "rds:CreateDBSubnetGroup",
                "rds:ModifyDBSubnetGroup",
                "rds:AddTagsToResource",
            ],
            remove: &["rds:DeleteDBSubnetGroup"],
        },
    ),
    (
        "database",
        Needs {
            read: &["rds:DescribeDBInstances"],
            make: &[
                "rds:CreateDBInstance",
                "rds:ModifyDBInstance",
                "rds:AddTagsToResource",
            ],
            remove: &["rds:DeleteDBInstance", "rds:CreateDBSnapshot"],
        },
    ),
    ("secret", SECRET),
    (
        "thing",
        Needs {
            read: &["iot:DescribeThing", "iot:ListThings"],
            make: &["iot:CreateThing", "iot:UpdateThing"],
            remove: &[
                "iot:ListThingPrincipals",
                "iot:DetachThingPrincipal",
                "iot:DeleteThing",
            ],
        },
    ),
    (
        "iot-policy",
        Needs {
            read: &[
                "iot:GetPolicy",
                "iot:ListPolicyVersions",
                "iot:ListTagsForResource",
            ],
            make: &[
                "iot:CreatePolicy",
                "iot:CreatePolicyVersion",
                "iot:DeletePolicyVersion",
                "iot:TagResource",
            ],
            remove: &[
                "iot:ListTargetsForPolicy",
                "iot:DetachPolicy",
                "iot:DeletePolicy",
            ],
        },
    ),
    (
        "certificate",
        Needs {
            read: &[
                "iot:DescribeCertificate",
                // The host name in the parties' configuration.
                "iot:DescribeEndpoint",
                "iot:ListCertificates",
                "iot:ListTargetsForPolicy",
                "iot:ListAttachedPolicies",
                "iot:ListPrincipalThings",
                "iot:ListThingPrincipals",
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:ListSecretVersionIds",
            ],
            make: &[
                "iot:CreateCertificateFromCsr",
                "iot:AttachPolicy",
                "iot:AttachThingPrincipal",
                "secretsmanager:CreateSecret",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecret",
                "secretsmanager:TagResource",
            ],
            remove: &[
                "iot:UpdateCertificate",
                "iot:DetachPolicy",
                "iot:DetachThingPrincipal",
                "iot:DeleteCertificate",
                "iot:DeleteConnection",
                "secretsmanager:DeleteSecret",
            ],
        },
    ),
    (
        "role",
        Needs {
            read: &[
                "iam:GetRole",
                "iam:ListRolePolicies",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
            ],
            make: &[
                "iam:CreateRole",
                "iam:PutRolePolicy",
                "iam:DeleteRolePolicy",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRoleDescription",
                "iam:TagRole",
            ],
            remove: &["iam:DetachRolePolicy", "iam:DeleteRole"],
        },
    ),
    (
        "addon",
        Needs {
            read: &["eks:DescribeCluster", "eks:DescribeAddon"],
            make: &["eks:CreateAddon", "eks:UpdateAddon", "eks:TagResource"],
            // It stays.
            remove: &[],
        },
    ),
    (
        "pod-identity",
        Needs {
            read: &[
                "eks:DescribeCluster",
                "eks:ListPodIdentityAssociations",
                "eks:DescribePodIdentityAssociation",
            ],
            make: &[
                "eks:CreatePodIdentityAssociation",
                "eks:UpdatePodIdentityAssociation",
                "eks:TagResource",
                "iam:PassRole",
                "iam:GetRole",
            ],
            remove: &["eks:DeletePodIdentityAssociation"],
        },
    ),
];

const SECRET: Needs = Needs {
    read: &[
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue",
    ],
    make: &[
        "secretsmanager:CreateSecret",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecret",
        "secretsmanager:RestoreSecret",
        "secretsmanager:TagResource",
    ],
    remove: &["secretsmanager:DeleteSecret"],
};
