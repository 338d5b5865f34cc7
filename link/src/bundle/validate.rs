//! What is wrong with a bundle, all of it at once, by the path of the field (docs/MAESTRO.md §5.4, §2.3).

use std::collections::HashMap;

use super::kinds::identity;
use super::manifest::{ObjectRef, unfit};
use super::spec::Spec;

/// Total size of the manifests that agents of either kind accept, in bytes of JSON (docs/MAESTRO.md §2.3).
pub const MAX_MANIFEST_BYTES: usize = 512_000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecProblem {
    /// Path of the field, as in `manifests[2].metadata.name`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// The objects that a bundle's manifests declare, so that none is declared twice.
#[derive(Debug, Default)]
pub struct Declared(HashMap<ObjectRef, (usize, String)>);

// === impl Declared ===

impl Declared {
    /// Notes what a manifest declares; answers with the problem when an earlier one declares the same object already, in
    /// in whatever version, group or namespace it is written.
    pub fn note(&mut self, index: usize, object: &ObjectRef) -> Option<String> {
        let said = object.to_string();
        let version = api_version(object);
        let Some((first, other)) = self.0.get(&identity(object)) else {
            self.0
                .insert(identity(object), (index, format!("{version} {said}")));
            return None;
        };
        let (first_said, same) = (other, *other == format!("{version} {said}"));
        let how = if same {
            String::new()
        } else {
            format!(" as {first_said}")
        };
        Some(format!(
            "declares {version} {said} again, which manifests[{first}] already does{how}"
        ))
    }
}

fn api_version(object: &ObjectRef) -> String {
    if object.group.is_empty() {
        object.version.clone()
    } else {
        format!("{}/{}", object.group, object.version)
    }
}

impl std::fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {}", self.path, self.message)
    }
}

// === impl Spec ===

impl Spec {
    /// Every problem of the bundle; empty means valid.
    pub fn problems(&self) -> Vec<SpecProblem> {
        let mut problems = Vec::new();
        let mut add = |path: String, message: String| problems.push(SpecProblem { path, message });
        if self.manifests.is_empty() {
            add(
                "manifests".into(),
                "is empty: a bundle declares at least one object".into(),
            );
        }
        let mut declared = Declared::default();
        let mut bytes = 0;
        for (index, manifest) in self.manifests.iter().enumerate() {
            let at = |field: &str| format!("manifests[{index}]{field}");
            bytes += manifest.to_string().len();
            if !manifest.is_object() {
                add(at(""), "is not a JSON object".into());
                continue;
            }
            let object = ObjectRef::of(manifest);
            if object.version.is_empty() {
                add(at(".apiVersion"), "is missing".into());
            }
            if object.kind.is_empty() {
                add(at(".kind"), "is missing".into());
            }
            let metadata = &manifest["metadata"];
            for forbidden in [
                "generateName",
                "resourceVersion",
                "deletionGracePeriodSeconds",
            ] {
                if !metadata[forbidden].is_null() {
                    add(
                        at(&format!(".metadata.{forbidden}")),
                        "may not be set in a manifest".into(),
                    );
                }
            }
            match (name_problem(&object.name, 253), unfit(manifest)) {
                // What has no name because it is a list gets that as its problem.
                (Some(_), Some(("kind", problem))) => add(at(".kind"), problem),
                (Some(problem), _) => add(at(".metadata.name"), problem),
                (None, _) => {}
            }
            if !object.namespace.is_empty()
                && let Some(problem) = name_problem(&object.namespace, 63)
            {
                add(at(".metadata.namespace"), problem);
            }
            for map in ["labels", "annotations"] {
                let value = &metadata[map];
                let texts = value
                    .as_object()
                    .is_some_and(|entries| entries.values().all(serde_json::Value::is_string));
                if !value.is_null() && !texts {
                    add(
                        at(&format!(".metadata.{map}")),
                        "is not a map of text to text".into(),
                    );
                }
            }
            if let Some(problem) = declared.note(index, &object) {
                add(at(""), problem);
            }
        }
        if bytes > MAX_MANIFEST_BYTES {
            add(
                "manifests".into(),
                format!("hold {bytes} bytes, more than the {MAX_MANIFEST_BYTES} an agent accepts"),
            );
        }
        self.option_problems(&mut add);
        problems
    }

    fn option_problems(&self, add: &mut dyn FnMut(String, String)) {
        let mut one_of = |path: String, value: &str, allowed: &[&str]| {
            if !allowed.contains(&value) {
                add(
                    path,
                    format!("is `{value}`; it may be {}", allowed.join(", ")),
                );
            }
        };
        if let Some(policy) = self
            .delete_option
            .as_ref()
            .and_then(|option| option.propagation_policy.as_deref())
        {
            one_of(
                "deleteOption.propagationPolicy".into(),
                policy,
                &["Foreground", "Orphan", "SelectivelyOrphan"],
            );
        }
        for (index, config) in self.manifest_configs.iter().enumerate() {
            let at = |field: String| format!("manifestConfigs[{index}].{field}");
            if let Some(strategy) = &config.update_strategy {
                one_of(
                    at("updateStrategy.type".into()),
                    &strategy.kind,
                    &["Update", "CreateOnly", "ServerSideApply", "ReadOnly"],
                );
            }
            for (rule_index, rule) in config.feedback_rules.iter().enumerate() {
                one_of(
                    at(format!("feedbackRules[{rule_index}].type")),
                    &rule.kind,
                    &["WellKnownStatus", "JSONPaths"],
                );
            }
            for (rule_index, rule) in config.condition_rules.iter().enumerate() {
                one_of(
                    at(format!("conditionRules[{rule_index}].type")),
                    &rule.kind,
                    &["WellKnownConditions", "CEL"],
                );
            }
            if let Some(scrape) = &config.feedback_scrape_type {
                one_of(at("feedbackScrapeType".into()), scrape, &["Poll", "Watch"]);
            }
        }
        if let Some(executer) = &self.executer {
            one_of(
                "executer.subject.type".into(),
                &executer.subject.kind,
                &["ServiceAccount"],
            );
        }
    }
}

// Kinds such as RBAC roles allow `:` and upper case, so only what no kind allows is refused.
fn name_problem(name: &str, longest: usize) -> Option<String> {
    if name.is_empty() {
        Some("is missing".into())
    } else if name.len() > longest {
        Some(format!("is longer than {longest} characters"))
    } else if matches!(name, "." | "..")
        || name.contains(['/', '%'])
        || name.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        Some(format!(
            "is `{}`, which no object can be called",
            name.escape_debug()
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_declared_twice_is_refused_whatever_its_version_or_stray_namespace() {
        let manifest = |api_version: &str, kind: &str, namespace: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "n", "namespace": namespace}});
        let spec = Spec {
            manifests: vec![
                manifest("autoscaling/v1", "HorizontalPodAutoscaler", "d"),
                manifest("v1", "Namespace", ""),
                manifest("autoscaling/v2", "HorizontalPodAutoscaler", "d"),
                manifest("v1", "Namespace", "stray"),
                manifest("v1", "ConfigMap", "d"),
                manifest("v1", "ConfigMap", "e"),
            ],
            ..Spec::default()
        };
        let text: Vec<String> = spec.problems().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        `manifests[2]` declares autoscaling/v2 HorizontalPodAutoscaler d/n again, which manifests[0] already does as autoscaling/v1 HorizontalPodAutoscaler d/n
        `manifests[3]` declares v1 Namespace stray/n again, which manifests[1] already does as v1 Namespace n
        ");
    }

    #[test]
    fn every_problem_is_named_by_its_path() {
        let spec: Spec = serde_json::from_value(json!({
            "manifests": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "d"}},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "d"}},
                {"kind": "X", "metadata": {"name": "a/b", "generateName": "g", "labels": {"a": 1}}},
                4
            ],
            "deleteOption": {"propagationPolicy": "Background"},
            "manifestConfigs": [{"updateStrategy": {"type": "Replace"}, "feedbackRules": [{"type": "All"}]}],
            "executer": {"subject": {"type": "User"}}
        }))
        .unwrap();
        let text: Vec<String> = spec.problems().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        `manifests[1]` declares v1 ConfigMap d/a again, which manifests[0] already does
        `manifests[2].apiVersion` is missing
        `manifests[2].metadata.generateName` may not be set in a manifest
        `manifests[2].metadata.name` is `a/b`, which no object can be called
        `manifests[2].metadata.labels` is not a map of text to text
        `manifests[3]` is not a JSON object
        `deleteOption.propagationPolicy` is `Background`; it may be Foreground, Orphan, SelectivelyOrphan
        `manifestConfigs[0].updateStrategy.type` is `Replace`; it may be Update, CreateOnly, ServerSideApply, ReadOnly
        `manifestConfigs[0].feedbackRules[0].type` is `All`; it may be WellKnownStatus, JSONPaths
        `executer.subject.type` is `User`; it may be ServiceAccount
        ");
        assert_eq!(Spec::default().problems().len(), 1);
    }
}
