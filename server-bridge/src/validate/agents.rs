//! Checks what an agent would refuse or ignore although its syntax is right, with the code that the agent runs.

use link::bundle::rules::{Candidate, ObjectSelector, candidates};
use link::bundle::{DeleteOption, Executer, ManifestConfig, Spec};
use serde::de::DeserializeOwned;

use super::{Problem, SHOWN, problem};
use crate::store::{Content, Json};

/// Checks content that has its shape. `stored` is what a change starts from.
pub(super) fn check(content: &Content, stored: Option<&Content>, problems: &mut Vec<Problem>) {
    // One by one, so that the field is known.
    readable::<DeleteOption>("delete_option", content.delete_option.as_ref(), problems);
    readable::<Vec<ManifestConfig>>(
        "manifest_configs",
        content.manifest_configs.as_ref(),
        problems,
    );
    readable::<Executer>("executer", content.executer.as_ref(), problems);
    if !problems.is_empty() {
        return;
    }
    let spec = match spec(content) {
        Ok(spec) => spec,
        Err(error) => return problem(problems, "manifests", format!("cannot be read: {error}")),
    };
    let stored = stored.and_then(|stored| self::spec(stored).ok());
    let stored = stored.unwrap_or_default();
    // What was taken once, maybe by an earlier version, is in no change's way that leaves it as it is.
    let is_news = spec.manifests != stored.manifests;
    let found = spec.problems().into_iter();
    let found = found.filter(|found| is_news || !found.path.starts_with("manifests"));
    problems.extend(found.map(|found| Problem {
        path: given_path(&found.path),
        message: found.message,
    }));
    let candidates = candidates(&spec.manifests);
    check_configs(&spec, &candidates, &stored, problems);
    check_orphans(&spec, candidates, &stored, problems);
}

/// A rule about nothing leaves what it was to protect to the defaults. One with a wildcard may be about nothing, and so
/// may one that is there already: this change may take out what it was about. The agent tells of both.
fn check_configs(
    spec: &Spec,
    candidates: &[Candidate],
    stored: &Spec,
    problems: &mut Vec<Problem>,
) {
    let unmatched = spec
        .manifest_configs
        .iter()
        .enumerate()
        .filter(|(_, config)| {
            let rule = &config.resource_identifier;
            let mut known = stored.manifest_configs.iter();
            let may_be_idle = rule.name.contains('*') || rule.namespace.contains('*');
            !may_be_idle && !known.any(|known| known.resource_identifier == *rule)
        })
        .filter_map(|(index, config)| {
            let found = ObjectSelector::from(&config.resource_identifier).problem(candidates)?;
            Some(Problem {
                path: format!("manifest_configs[{index}].resourceIdentifier"),
                message: found,
            })
        });
    // Finding the nearest of many takes time, and no more of them are shown.
    problems.extend(unmatched.take(SHOWN));
}

/// An object that no rule spares is deleted. A rule may also be about what this change takes out, and stays then.
fn check_orphans(
    spec: &Spec,
    mut candidates: Vec<Candidate>,
    stored: &Spec,
    problems: &mut Vec<Problem>,
) {
    let rules = |spec: &Spec| {
        let option = spec.delete_option.clone().unwrap_or_default();
        option
            .selectively_orphans
            .unwrap_or_default()
            .orphaning_rules
    };
    let given = rules(spec);
    if given.is_empty() {
        return;
    }
    let known = rules(stored);
    candidates.extend(link::bundle::rules::candidates(&stored.manifests));
    let unmatched = given.iter().enumerate().filter_map(|(index, rule)| {
        if known.contains(rule) {
            return None;
        }
        Some(Problem {
            path: format!("delete_option.selectivelyOrphans.orphaningRules[{index}]"),
            message: ObjectSelector::from(rule).problem(&candidates)?,
        })
    });
    problems.extend(unmatched.take(SHOWN));
}

fn spec(content: &Content) -> Result<Spec, serde_json::Error> {
    serde_json::from_slice(&content.payload())
}

fn readable<T: DeserializeOwned>(path: &str, part: Option<&Json>, problems: &mut Vec<Problem>) {
    if let Some(Err(error)) = part.map(|part| serde_json::from_str::<T>(part.as_str())) {
        problem(problems, path, format!("an agent cannot read it: {error}"));
    }
}

/// The path of a field as this API names it.
fn given_path(wire: &str) -> String {
    [
        ("deleteOption", "delete_option"),
        ("manifestConfigs", "manifest_configs"),
    ]
    .iter()
    .find_map(|(there, here)| Some(format!("{here}{}", wire.strip_prefix(there)?)))
    .unwrap_or_else(|| wire.to_owned())
}
