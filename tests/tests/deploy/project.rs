//! What an AppProject permits, as far as ours says anything: repositories, namespaces and kinds without one.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{documents, root, text};

/// Whether the project of `deploy/argocd` lets an Application of it make these objects.
pub(super) fn permits(application: &Value, objects: &[Value]) -> Result<()> {
    let file = root().join("deploy/argocd/project.yaml");
    let project = documents(&std::fs::read_to_string(file)?)?.remove(0);
    let spec = &project["spec"];
    ensure!(application["spec"]["project"] == project["metadata"]["name"]);
    for source in sources(application) {
        let repositories = spec["sourceRepos"].as_array();
        ensure!(
            repositories.is_some_and(|all| all.contains(&source["repoURL"])),
            "{source}"
        );
    }
    let namespaces: Vec<_> = each(&spec["destinations"])
        .map(|it| text(&it["namespace"]))
        .collect();
    for object in objects {
        let kind = text(&object["kind"]);
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => ensure!(namespaces.contains(&namespace), "{kind} in {namespace}"),
            None => {
                let group = text(&object["apiVersion"]).split_once('/');
                let group = group.map_or("", |(group, _)| group);
                let mut listed = each(&spec["clusterResourceWhitelist"]);
                ensure!(
                    listed.any(|it| it["kind"] == kind && it["group"] == group),
                    "{kind} of {group} is not in clusterResourceWhitelist"
                );
            }
        }
    }
    Ok(())
}

/// The one source of an Application, or its several.
pub(super) fn sources(application: &Value) -> Vec<&Value> {
    let spec = &application["spec"];
    match spec["sources"].as_array() {
        Some(sources) => sources.iter().collect(),
        None => vec![&spec["source"]],
    }
}

/// The sync policy that all of ours share: they repair and prune by themselves and never give up.
pub(super) fn keeps_itself(application: &Value) -> Result<()> {
    let policy = &application["spec"]["syncPolicy"];
    ensure!(policy["automated"]["prune"] == true && policy["automated"]["selfHeal"] == true);
    ensure!(policy["retry"]["limit"] == -1 && policy["retry"]["backoff"].is_object());
    let options = policy["syncOptions"].as_array().context("has options")?;
    for option in ["CreateNamespace=true", "ServerSideApply=true"] {
        ensure!(options.contains(&option.into()), "{option}");
    }
    Ok(())
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
