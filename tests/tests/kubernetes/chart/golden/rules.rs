//! What must hold whatever the values are, asked of every reviewed render.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use super::super::AGENT;
use super::super::server::SERVER;
use super::{goldens, kind, names, text};

#[test]
fn every_service_and_monitor_reaches_a_port_of_a_pod_that_it_selects() -> Result<()> {
    let mut reached = 0;
    for golden in goldens()? {
        let objects = golden.objects()?;
        let pods = golden.pods(&objects);
        for object in &objects {
            let (selector, ports) = match kind(object) {
                "Service" => (
                    &object["spec"]["selector"],
                    names(&object["spec"]["ports"], "targetPort"),
                ),
                "PodMonitor" => {
                    let endpoints = &object["spec"]["podMetricsEndpoints"];
                    (
                        &object["spec"]["selector"]["matchLabels"],
                        names(endpoints, "port"),
                    )
                }
                "ServiceMonitor" => {
                    // By way of the Service of its port.
                    let labels = &object["spec"]["selector"]["matchLabels"];
                    let mut services = objects.iter().filter(|it| kind(it) == "Service");
                    let service = services.find(|it| within(labels, &it["metadata"]["labels"]));
                    let service =
                        service.with_context(|| format!("{golden}: a Service for {labels}"))?;
                    let there = names(&service["spec"]["ports"], "name");
                    let asked = names(&object["spec"]["endpoints"], "port");
                    ensure!(
                        asked.iter().all(|port| there.contains(port)),
                        "{golden}: {asked:?}"
                    );
                    (&service["spec"]["selector"], there)
                }
                _ => continue,
            };
            let selected: Vec<_> = pods
                .iter()
                .filter(|pod| within(selector, &pod["metadata"]["labels"]))
                .collect();
            // Nothing but the workload: neither the pods of checks nor those of Jobs.
            ensure!(
                selected.len() == 1,
                "{golden}: {selector} selects {} pods",
                selected.len()
            );
            let containers = selected
                .iter()
                .flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten());
            let open: Vec<_> = containers
                .flat_map(|it| names(&it["ports"], "name"))
                .collect();
            for port in ports {
                ensure!(
                    open.contains(&port),
                    "{golden}: {} asks for {port}",
                    object["metadata"]["name"]
                );
                reached += 1;
            }
        }
    }
    ensure!(reached > 20, "{reached}");
    Ok(())
}

#[test]
fn nothing_that_a_value_names_gets_into_a_selector_that_cannot_be_changed() -> Result<()> {
    for golden in goldens()? {
        let objects = golden.objects()?;
        let expected: Value = json!({
            "app.kubernetes.io/name": golden.chart,
            "app.kubernetes.io/instance": "maestro",
        });
        let workload = |object: &&Value| matches!(kind(object), "Deployment" | "StatefulSet");
        for object in objects.iter().filter(workload) {
            let spec = &object["spec"];
            ensure!(
                spec["selector"]["matchLabels"] == expected,
                "{golden}: {spec}"
            );
            for claim in spec["volumeClaimTemplates"]
                .as_array()
                .into_iter()
                .flatten()
            {
                ensure!(claim["metadata"]["labels"] == expected, "{golden}: {claim}");
            }
        }
        ensure!(objects.iter().filter(workload).count() == 1, "{golden}");
    }
    Ok(())
}

#[test]
fn what_containers_mount_is_a_volume_and_what_is_a_volume_is_mounted() -> Result<()> {
    for golden in goldens()? {
        let objects = golden.objects()?;
        for pod in golden.pods(&objects) {
            let mut volumes = names(&pod["spec"]["volumes"], "name");
            let owner = objects.iter().find(|it| kind(it) == "StatefulSet");
            if pod["metadata"]["labels"]["app.kubernetes.io/name"] == golden.chart {
                let claims = owner.and_then(|it| it["spec"]["volumeClaimTemplates"].as_array());
                let claims = claims.into_iter().flatten();
                volumes.extend(claims.filter_map(|it| text(&it["metadata"]["name"])));
            }
            let containers =
                ["initContainers", "containers"].map(|them| pod["spec"][them].as_array());
            let containers = containers.into_iter().flatten().flatten();
            let mut mounted: Vec<_> = containers
                .flat_map(|it| names(&it["volumeMounts"], "name"))
                .collect();
            mounted.sort();
            mounted.dedup();
            volumes.sort();
            ensure!(mounted == volumes, "{golden}: {mounted:?} of {volumes:?}");
        }
    }
    Ok(())
}

#[test]
fn external_secrets_and_the_csi_driver_bring_the_same_files() -> Result<()> {
    for chart in [AGENT, SERVER] {
        let mut files = BTreeMap::new();
        for golden in goldens()?.into_iter().filter(|it| it.chart == chart) {
            for object in golden.objects()? {
                let names = match kind(&object) {
                    "ExternalSecret" => external(&object)?,
                    "SecretProviderClass" => mounted(&object)?,
                    _ => continue,
                };
                files
                    .entry(names)
                    .or_insert_with(Vec::new)
                    .push((kind(&object).to_owned(), golden.name.clone()));
            }
        }
        let both = files.values().any(|by| {
            let has = |kind: &str| by.iter().any(|(it, _)| it == kind);
            has("ExternalSecret") && has("SecretProviderClass")
        });
        ensure!(both, "{chart}: {files:#?}");
    }
    Ok(())
}

/// File names and where each comes from.
type Files = Vec<(String, String, String)>;

fn external(object: &Value) -> Result<Files> {
    let entries = object["spec"]["data"].as_array().context("it has data")?;
    let one = |entry: &Value| {
        let from = &entry["remoteRef"];
        Some((
            text(&entry["secretKey"])?,
            text(&from["key"])?,
            text(&from["property"])?,
        ))
    };
    let mut files: Files = entries.iter().filter_map(one).collect();
    ensure!(files.len() == entries.len(), "{object}");
    files.sort();
    Ok(files)
}

fn mounted(object: &Value) -> Result<Files> {
    let manifest = serde_json::to_string(object)?;
    let objects = object["spec"]["parameters"]["objects"]
        .as_str()
        .context("it has objects")?;
    let objects: Vec<Value> = serde_saphyr::from_str(objects)?;
    let mut files = Files::new();
    for secret in &objects {
        for part in secret["jmesPath"].as_array().into_iter().flatten() {
            let part = (
                text(&part["objectAlias"]),
                text(&secret["objectName"]),
                text(&part["path"]),
            );
            let (Some(file), Some(name), Some(path)) = part else {
                anyhow::bail!("{manifest}");
            };
            files.push((file, name, path));
        }
    }
    files.sort();
    Ok(files)
}

fn within(selector: &Value, labels: &Value) -> bool {
    let none = Map::new();
    let asked = selector.as_object().unwrap_or(&none);
    asked.iter().all(|(name, value)| labels[name] == *value)
}
