//! Random manifests of random scope, groups and versions, changed in random order, with kills and old records in between:
//! what the newest version declares is never removed, and nothing is left in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::try_join_all;
use kube::api::{ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::pinned_kind;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tests::wait::wait_for;

use super::earlier::rewrite;
use super::places::definition;
use super::shared::events;
use super::*;
use crate::fixture::PATIENCE;

/// A kind of the pool: its `apiVersion`s, the last of which nothing serves, whether it has namespaces, its plural.
struct Kind {
    name: &'static str,
    plural: &'static str,
    api_versions: Vec<String>,
    namespaced: bool,
}

/// One manifest of a version, and what is expected of it.
struct Declared {
    manifest: Value,
    /// Kind and name: which object it is.
    object: (usize, usize),
    /// It names a namespace where its kind needs one.
    placed: bool,
    served: bool,
    resource: String,
}

/// Objects of the pool that are there, with their uids.
type Live = BTreeMap<(usize, usize), String>;

fn pool(group: &str) -> Vec<Kind> {
    let kind = |name, plural, api_versions: &[&str], namespaced| Kind {
        name,
        plural,
        api_versions: api_versions.iter().map(|&it| it.into()).collect(),
        namespaced,
    };
    let own = ["v1", "v2", "v9"].map(|version| format!("{group}/{version}"));
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    vec![
        kind("ConfigMap", "configmaps", &["v1", "v9"], true),
        kind("Event", "events", &["v1", "events.k8s.io/v1", "v9"], true),
        kind(
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            &["autoscaling/v1", "autoscaling/v2", "autoscaling/v9"],
            true,
        ),
        kind("Gadget", "gadgets", &own, true),
        kind("Widget", "widgets", &own, false),
        kind(
            "ClusterRole",
            "clusterroles",
            &[
                "rbac.authorization.k8s.io/v1",
                "rbac.authorization.k8s.io/v9",
            ],
            false,
        ),
    ]
}

/// An object of the pool as the server has it; `variant` is a place in the list of versions.
fn object(rig: &Rig, pool: &[Kind], (kind, name): (usize, usize), variant: usize) -> Value {
    let Kind {
        name: kind,
        api_versions,
        namespaced,
        ..
    } = &pool[kind];
    let name = ["a", "b"][name];
    let mut manifest = if *kind == "Event" {
        let [core, own] = events(rig, name);
        if variant == 1 { own } else { core }
    } else {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"});
        let rest = match *kind {
            "HorizontalPodAutoscaler" => {
                json!({"spec": {"maxReplicas": 3, "scaleTargetRef": target}})
            }
            "ClusterRole" => json!({"rules": []}),
            _ => json!({}),
        };
        rig.manifest("", kind, name, rest)
    };
    manifest["apiVersion"] = api_versions[variant].as_str().into();
    if !namespaced {
        let name = format!("{}-{name}", rig.namespace);
        manifest["metadata"] = json!({ "name": name });
    }
    manifest
}

fn declare(rig: &Rig, pool: &[Kind], rng: &mut StdRng, step: usize) -> Declared {
    let at = (rng.random_range(0..pool.len()), rng.random_range(0..2));
    let kind = &pool[at.0];
    let served_versions = kind.api_versions.len() - 1;
    let served = !rng.random_ratio(1, 8);
    let variant = if served {
        rng.random_range(0..served_versions)
    } else {
        served_versions
    };
    let mut manifest = object(rig, pool, at, variant);
    manifest["metadata"]["labels"] = json!({"step": step.to_string()});
    let mut placed = true;
    if !kind.namespaced && rng.random_ratio(1, 2) {
        let stray = ["elsewhere", "nowhere"][rng.random_range(0..2)];
        manifest["metadata"]["namespace"] = stray.into();
    } else if kind.namespaced && rng.random_ratio(1, 6) {
        manifest["metadata"]["namespace"] = Value::Null;
        placed = false;
    }
    let (group, _) = kind.api_versions[variant]
        .split_once('/')
        .unwrap_or_default();
    Declared {
        manifest,
        object: at,
        placed,
        served,
        resource: format!("{group}/{}", kind.plural),
    }
}

async fn live(rig: &Rig, pool: &[Kind]) -> Result<Live> {
    let all = (0..pool.len()).flat_map(|kind| [(kind, 0), (kind, 1)]);
    let read = all.map(async |at| {
        let uid = rig.uid(&object(rig, pool, at, 0)).await?;
        anyhow::Ok(uid.map(|uid| (at, uid)))
    });
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}

/// What must hold after the agent has looked at a version. `orphans` are objects that were once only read, so that the
/// work does not hold them.
fn check(
    pool: &[Kind],
    before: &Live,
    after: &Live,
    version: &[Declared],
    only_read: &BTreeSet<String>,
    orphans: &BTreeSet<(usize, usize)>,
) -> Result<()> {
    let mut first: BTreeMap<(usize, usize), &Declared> = BTreeMap::new();
    for declared in version.iter().filter(|it| it.placed) {
        first.entry(declared.object).or_insert(declared);
    }
    for (at, declared) in &first {
        let (was, is) = (before.get(at), after.get(at));
        ensure!(
            was.is_none() || was == is,
            "{at:?} was {was:?} and is {is:?}"
        );
        let writes = declared.served && !only_read.contains(&declared.resource);
        ensure!(
            !writes || is.is_some(),
            "{at:?} is missing: {}",
            declared.manifest
        );
    }
    // A manifest without a namespace may be any object of its name.
    let waits = |at: &(usize, usize)| {
        let mut homeless = version.iter().filter(|it| !it.placed);
        pool[at.0].namespaced && homeless.any(|it| it.object.1 == at.1)
    };
    for (at, was) in before.iter().filter(|(at, _)| !first.contains_key(at)) {
        let is = after.get(at);
        ensure!(
            !waits(at) || is == Some(was),
            "{at:?} was {was} and is {is:?}"
        );
    }
    for at in after.keys().filter(|at| !first.contains_key(at)) {
        ensure!(waits(at) || orphans.contains(at), "{at:?} is left");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_removes_what_the_newest_version_declares_and_nothing_is_left() -> Result<()> {
    let mut rng = tests::seed::rng("identity");
    for _ in 0..WORKS {
        let mut rig = Rig::new("changes").await?;
        let group = format!("{}.example.com", rig.namespace);
        let pool = pool(&group);
        for (plural, kind, scope) in [
            ("gadgets", "Gadget", "Namespaced"),
            ("widgets", "Widget", "Cluster"),
        ] {
            let definition = definition(&group, plural, kind, scope);
            let definitions = rig.objects(&definition);
            let definition = serde_json::from_value(definition)?;
            definitions
                .create(&PostParams::default(), &definition)
                .await?;
        }
        wait_for("the kinds", PATIENCE, async || {
            for kind in [3, 4] {
                for (variant, version) in ["v1", "v2"].into_iter().enumerate() {
                    let objects = rig.objects(&object(&rig, &pool, (kind, 0), variant));
                    objects.list(&ListParams::default()).await?;
                    // An agent that starts asks for what is served only once.
                    let kind = GroupVersionKind::gvk(&group, version, pool[kind].name);
                    pinned_kind(&rig.client, &kind).await?;
                }
            }
            anyhow::Ok(())
        })
        .await?;
        rig.restart().await?;
        one_work(&mut rig, &pool, &mut rng).await?;
    }
    Ok(())
}

async fn one_work(rig: &mut Rig, pool: &[Kind], rng: &mut StdRng) -> Result<()> {
    let mut orphans = BTreeSet::new();
    let mut told = Vec::new();
    for step in 0..CHANGES {
        let before = live(rig, pool).await?;
        let count = rng.random_range(1..7);
        let version: Vec<Declared> = (0..count).map(|_| declare(rig, pool, rng, step)).collect();
        let mut only_read = BTreeSet::new();
        if rng.random_ratio(1, 6) {
            only_read.insert(version[0].resource.clone());
        }
        let all: Vec<&Value> = version.iter().map(|it| &it.manifest).collect();
        let configs = only_read.iter().map(|resource| {
            let (group, resource) = resource.split_once('/').unwrap_or_default();
            json!({
                "resourceIdentifier": {"group": group, "resource": resource, "name": "*", "namespace": "*"},
                "updateStrategy": {"type": "ReadOnly"},
            })
        });
        let configs: Vec<Value> = configs.collect();
        let spec = json!({"manifests": all, "manifestConfigs": configs});
        told.push(spec.to_string());

        match rng.random_range(0..6) {
            0 => {
                rig.restart().await?;
                rig.becomes(spec).await?;
            }
            1 => {
                rewrite(rig, as_of_old).await?;
                rig.restart().await?;
                rig.becomes(spec).await?;
            }
            2 => {
                // Killed at some moment of the look.
                let moment = Duration::from_millis(rng.random_range(1..30));
                drop(tokio::time::timeout(moment, rig.becomes(spec)).await);
                rig.restart().await?;
            }
            _ => drop(rig.becomes(spec).await?),
        }
        let status = rig.look().await?;
        let after = live(rig, pool).await?;
        let mut seen = BTreeSet::new();
        for declared in version.iter().filter(|it| it.placed) {
            if !seen.insert(declared.object) {
                continue;
            }
            if only_read.contains(&declared.resource) {
                orphans.insert(declared.object);
            } else if declared.served {
                orphans.remove(&declared.object);
            }
        }
        check(pool, &before, &after, &version, &only_read, &orphans).with_context(|| {
            let told = told.join("\n");
            format!("step {step}: {before:?}, then {after:?}\n{told}\n{status:#?}")
        })?;
    }
    rig.ends_at_once().await?;
    let left = live(rig, pool).await?;
    for (at, uid) in left {
        ensure!(
            orphans.contains(&at),
            "{at:?} {uid} is left\n{}",
            told.join("\n")
        );
    }
    Ok(())
}

/// Namespaces where they mean nothing, and what never had a place.
fn as_of_old(claims: &mut Value, applied: &mut Value) {
    let cluster = ["Widget", "ClusterRole"];
    for claim in claims.as_array_mut().into_iter().flatten() {
        if cluster.iter().any(|kind| claim[2] == *kind) {
            claim[3] = "old".into();
        }
    }
    for object in applied.as_array_mut().into_iter().flatten() {
        if ["widgets", "clusterroles"]
            .iter()
            .any(|plural| object["resource"] == *plural)
        {
            object["namespace"] = "old".into();
        }
    }
    if let Some(claims) = claims.as_array_mut() {
        claims.push(json!(["", "v1", "ConfigMap", "", "a", null, 0]));
    }
}

// Together they take some seconds.
const WORKS: usize = 3;
const CHANGES: usize = 30;
