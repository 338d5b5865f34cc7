//! What the members' manifests may say.

use crate::nothing_in;
use crate::tree::{Text, texts};

/// `(member, dependency, line)` of every dependency section.
fn dependencies(manifests: &[Text]) -> Vec<(&str, String, usize)> {
    let mut found = Vec::new();
    for manifest in manifests {
        let mut inside = false;
        for (line, text) in manifest.lines() {
            if let Some(section) = text.trim().strip_prefix('[') {
                inside = section.trim_end_matches(']').ends_with("dependencies");
            } else if inside && !text.trim().is_empty() && !text.trim_start().starts_with('#') {
                let name = text.split(['.', '=', ' ']).next().unwrap_or_default();
                found.push((member(manifest), name.to_owned(), line));
            }
        }
    }
    found
}

fn member(manifest: &Text) -> &str {
    manifest.path.trim_end_matches("/Cargo.toml")
}

/// Manifests of the workspace's members.
fn manifests() -> Vec<Text> {
    let all = texts();
    let root = all.iter().find(|file| file.path == "Cargo.toml");
    let mut lines = root.expect("a workspace").content.lines();
    let members = lines.find(|line| line.starts_with("members = "));
    let members = members.expect("the members on one line").to_owned();
    all.into_iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter(|file| members.contains(&format!("\"{}\"", member(file))))
        .collect()
}

#[test]
fn every_member_takes_the_workspace_lints() {
    let breaches: Vec<_> = manifests()
        .iter()
        .filter(|manifest| !manifest.content.contains("[lints]\nworkspace = true"))
        .map(|manifest| format!("{}:1: no `[lints] workspace = true`", manifest.path))
        .collect();
    nothing_in(&breaches);
}

#[test]
fn every_dependency_comes_from_the_one_table() {
    let manifests = manifests();
    let mut breaches = Vec::new();
    for (member, name, line) in dependencies(&manifests) {
        let manifest = manifests
            .iter()
            .find(|file| file.path.starts_with(&format!("{member}/")));
        let text = manifest
            .and_then(|file| file.content.lines().nth(line - 1))
            .unwrap_or_default();
        if !text.contains("workspace = true") {
            breaches.push(format!(
                "{member}/Cargo.toml:{line}: `{name}` has a version of its own; put it in `[workspace.dependencies]`"
            ));
        }
    }
    nothing_in(&breaches);
}

#[test]
fn members_depend_only_on_those_below_them() {
    let manifests = manifests();
    let names: Vec<_> = manifests.iter().map(member).collect();
    let breaches: Vec<_> = dependencies(&manifests)
        .into_iter()
        .filter(|(_, name, _)| names.contains(&name.as_str()))
        .filter(|(member, name, _)| {
            let allowed = match *member {
                "link" => &[][..],
                "agent" => &["link", "status-rules"][..],
                "probe" | "provisioner" => &["link", "region-file"][..],
                "sandbox" => &["link", "agent", "server-bridge"][..],
                "tests" => return false,
                _ => &["link"][..],
            };
            !allowed.contains(&name.as_str())
        })
        .map(|(member, name, line)| {
            format!("{member}/Cargo.toml:{line}: depends on `{name}`; what both need belongs into `link`")
        })
        .collect();
    nothing_in(&breaches);
}

#[test]
fn heavy_libraries_stay_in_their_member() {
    let manifests = manifests();
    let breaches: Vec<_> = dependencies(&manifests)
        .into_iter()
        .filter_map(|(member, name, line)| {
            let (_, owners) = OWNERS
                .iter()
                .find(|(prefix, _)| name == *prefix || name.starts_with(&format!("{prefix}-")))?;
            let breach =
                format!("{member}/Cargo.toml:{line}: `{name}` belongs to {owners:?} alone");
            (!owners.contains(&member)).then_some(breach)
        })
        .collect();
    nothing_in(&breaches);
}

/// Which member may use what (by crate name or its prefix).
const OWNERS: &[(&str, &[&str])] = &[
    // `tests` only in benchmarks, to compare with the bare library; tidy's source check holds it to that.
    (concat!("rum", "qttc"), &["link", "tests"]),
    ("sqlx", &["server-bridge"]),
    ("tonic", &["server-bridge"]),
    ("cel", &["status-rules"]),
    ("kube", &["agent", "server-bridge", "tests"]),
    ("k8s-openapi", &["agent", "server-bridge", "tests"]),
    ("aws-config", &["probe", "provisioner", "server-bridge"]),
    ("aws-credential-types", &["probe", "server-bridge"]),
    ("aws-sigv4", &["probe", "server-bridge"]),
    ("aws-sdk", &["provisioner"]),
    ("aws-runtime", &["provisioner"]),
    ("aws-smithy", &["provisioner"]),
    ("aws-types", &["provisioner"]),
    (
        "rmqtt-codec",
        &["probe", "sandbox", "server-bridge", "tests"],
    ),
];
