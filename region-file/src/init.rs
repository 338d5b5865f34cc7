//! The commented file that `provisioner init` writes: every key, its meaning and its default.
//!
//! What is not answered stays empty, so that the file is refused by the name of the field until it is filled in.

use serde_json::{Value, json};

use super::grammar::{self, Checked, Fault};
use super::problem::Problem;

/// What is known of a region before its file exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Base of names.
    pub name: Option<String>,
    /// AWS region.
    pub region: Option<String>,
    /// Account, 12 digits.
    pub account: Option<String>,
    /// VPC.
    pub vpc: Option<String>,
    /// Private subnets.
    pub private_subnets: Vec<String>,
    /// The server's EKS cluster.
    pub eks_cluster: Option<String>,
    /// Security groups that may reach the database.
    pub security_groups: Vec<String>,
    /// Management clusters: id and account.
    pub clusters: Vec<(String, String)>,
}

// === impl Answers ===

impl Answers {
    /// What `validate` would refuse of name, region and account.
    pub fn problems(&self) -> Vec<Problem> {
        let rules: [(_, _, Rule); 3] = [
            ("name", self.name.as_deref(), grammar::base_name),
            ("region", self.region.as_deref(), grammar::region),
            ("account", self.account.as_deref(), grammar::account),
        ];
        let refused = rules.into_iter().filter_map(|(field, answer, rule)| {
            let Fault { what, fix } = rule(answer?).err()?;
            Some(Problem::new(field, what, fix))
        });
        refused.collect()
    }
}

/// The file's text.
pub fn template(answers: &Answers) -> String {
    let clusters = answers.clusters.iter();
    let clusters: Vec<Value> = clusters
        .map(|(id, account)| json!({"id": id, "account": account}))
        .collect();
    let one = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let many = |texts: &[String]| (!texts.is_empty()).then(|| json!(texts));
    let places = [
        ("@NAME@", one(&answers.name)),
        ("@REGION@", one(&answers.region)),
        ("@ACCOUNT@", one(&answers.account)),
        ("@VPC@", one(&answers.vpc)),
        ("@SUBNETS@", many(&answers.private_subnets)),
        ("@EKS_CLUSTER@", one(&answers.eks_cluster)),
        ("@SECURITY_GROUPS@", many(&answers.security_groups)),
        ("@CLUSTERS@", Some(json!(clusters))),
    ];
    let mut text = TEMPLATE.to_owned();
    for (place, value) in places {
        match value {
            // JSON is YAML, and quotes what must be quoted.
            Some(value) => text = text.replace(place, &value.to_string()),
            None => text = text.replace(&format!(" {place}"), ""),
        }
    }
    text
}

type Rule = fn(&str) -> Checked;

const TEMPLATE: &str = include_str!("../data/region.template.yaml");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Region;

    fn answers() -> Answers {
        let some = |text: &str| Some(text.to_owned());
        Answers {
            name: some("regional-x8k2"),
            region: some("us-east-2"),
            account: some("012345678901"),
            vpc: some("vpc-0123456789abcdef0"),
            private_subnets: vec!["subnet-01234567".into(), "subnet-01234568".into()],
            eks_cluster: some("regional-x8k2"),
            security_groups: vec!["sg-01234567".into()],
            clusters: vec![("management-01".into(), "123456789012".into())],
        }
    }

    // Takes the `#` from keys, not from sentences.
    fn uncommented(text: &str) -> String {
        let line = |line: &str| match line.trim_start().strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                line.replacen('#', "", 1)
            }
            _ => line.to_owned(),
        };
        text.lines().map(|text| line(text) + "\n").collect()
    }

    #[test]
    fn every_default_in_the_template_is_the_default() {
        let text = template(&answers());
        let region = Region::parse(&text, Path::new("")).unwrap();
        let spelled_out = Region::parse(&uncommented(&text), Path::new("")).unwrap();
        assert_eq!(region, spelled_out);
        assert_eq!(region.account, "012345678901");
        assert_eq!(region.clusters.len(), 1);
    }

    #[test]
    fn the_template_has_every_key_of_the_schema() {
        let text = uncommented(&template(&answers()));
        let written: Value = serde_saphyr::from_str(&text).unwrap();
        let schema = Region::schema();
        for (key, section) in schema["properties"].as_object().unwrap() {
            assert!(written.get(key).is_some(), "{key}");
            let section = section["anyOf"].get(0).unwrap_or(section);
            let Some(keys) = section["properties"].as_object() else {
                continue;
            };
            for inner in keys.keys() {
                assert!(written[key].get(inner).is_some(), "{key}.{inner}");
            }
        }
        let clusters = &schema["properties"]["managementClusters"]["items"]["properties"];
        for key in clusters.as_object().unwrap().keys() {
            assert!(
                text.contains(&format!(" {key}:")),
                "managementClusters[].{key}"
            );
        }
    }

    #[test]
    fn answers_are_held_to_the_rules_of_the_file() {
        assert_eq!(answers().problems(), []);
        assert_eq!(Answers::default().problems(), []);
        let wrong = Answers {
            name: Some("X_Y".into()),
            region: Some("mars-1".into()),
            account: Some("12".into()),
            ..answers()
        };
        let problems = wrong.problems();
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["name", "region", "account"]);
        let file = Region::parse(&template(&wrong), Path::new("")).unwrap_err();
        for (problem, same) in problems.iter().zip(&file.problems) {
            assert_eq!(problem.what, same.what);
        }
    }

    #[test]
    fn what_is_not_answered_is_asked_for_by_name() {
        let problems = Region::parse(&template(&Answers::default()), Path::new("")).unwrap_err();
        for field in [
            "name",
            "region",
            "account",
            "network.vpc",
            "network.privateSubnets",
            "eks.cluster",
            "eks.securityGroups",
        ] {
            assert!(problems.about(field), "{field}: {problems}");
        }
        assert_eq!(problems.problems.len(), 7, "{problems}");
    }
}
