//! What a `PUT` has to carry over from the live object, kind by kind.

use serde_json::{Map, Value};

/// Fills the gaps of `merged` from `live` as its kind needs it.
pub(super) fn carry(merged: &mut Value, live: &Value) {
    let text = |name: &str| merged[name].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind.as_str()) {
        ("", "Service") => service(merged, live),
        ("", "PersistentVolumeClaim") => fill_at(merged, live, &["spec"]),
        ("", "PersistentVolume") => claim_ref(merged, live),
        ("", "Namespace") => fill_at(merged, live, &["spec", "finalizers"]),
        ("", "Pod") => pod(merged, live),
        ("", "Secret") => secret(merged, live),
        ("batch", "Job") => job(merged, live),
        ("apps", "Deployment" | "StatefulSet" | "ReplicaSet") => {
            // Left out, so that somebody else scales; the default of a `PUT` would be one replica.
            fill_at(merged, live, &["spec", "replicas"]);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => conversion(merged, live),
        ("apiregistration.k8s.io", "APIService")
            if merged["spec"]["insecureSkipTLSVerify"] != true =>
        {
            fill_at(merged, live, &["spec", "caBundle"]);
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => webhooks(merged, live),
        _ => {}
    }
}

fn service(merged: &mut Value, live: &Value) {
    let spec = &merged["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" || live["spec"]["type"] == "ExternalName" {
        return;
    }
    let address = &spec["clusterIP"];
    if is_absent(address) || *address == live["spec"]["clusterIP"] {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            fill_at(merged, live, &["spec", name]);
        }
    }
    if kind == "LoadBalancer" && merged["spec"]["externalTrafficPolicy"] == "Local" {
        fill_at(merged, live, &["spec", "healthCheckNodePort"]);
    }
    if kind == "LoadBalancer" || kind == "NodePort" {
        node_ports(merged, live);
    }
}

fn node_ports(merged: &mut Value, live: &Value) {
    let port_of = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
        (port["port"].clone(), protocol)
    };
    if merged["spec"]["type"] == "LoadBalancer"
        && merged["spec"]["allocateLoadBalancerNodePorts"] == false
    {
        return;
    }
    for port in items_mut(merged, &["spec", "ports"]) {
        let same = items(&live["spec"]["ports"]).find(|live| port_of(live) == port_of(port));
        if let Some(same) = same {
            fill_at(port, same, &["nodePort"]);
        }
    }
}

// The claim that is bound, with its uid, unless the manifest names another one.
fn claim_ref(merged: &mut Value, live: &Value) {
    let (wanted, bound) = (&merged["spec"]["claimRef"], &live["spec"]["claimRef"]);
    let same = ["namespace", "name"]
        .iter()
        .all(|name| wanted[name] == bound[name]);
    if is_absent(wanted) || same {
        fill_at(merged, live, &["spec", "claimRef"]);
    }
}

// Only images may change in a pod. Admission added volumes, mounts and tolerations, whose order counts.
fn pod(merged: &mut Value, live: &Value) {
    for (list, key) in [
        ("containers", "name"),
        ("initContainers", "name"),
        ("ephemeralContainers", "name"),
        ("volumes", "name"),
    ] {
        fill_list(merged, live, &["spec", list], key);
    }
    for list in ["containers", "initContainers"] {
        for container in items_mut(merged, &["spec", list]) {
            let same = items(&live["spec"][list]).find(|live| live["name"] == container["name"]);
            if let Some(same) = same {
                fill_list(container, same, &["volumeMounts"], "mountPath");
            }
        }
    }
    tolerations(merged, live);
    fill_at(merged, live, &["spec"]);
}

fn tolerations(merged: &mut Value, live: &Value) {
    let missing: Vec<_> = items(&live["spec"]["tolerations"])
        .filter(|toleration| !items(&merged["spec"]["tolerations"]).any(|own| own == *toleration))
        .cloned()
        .collect();
    if let Some(own) = get_mut(merged, &["spec", "tolerations"]).and_then(Value::as_array_mut) {
        own.extend(missing);
    }
}

fn secret(merged: &mut Value, live: &Value) {
    // Token and certificate are filled in by a controller.
    if merged["type"] == "kubernetes.io/service-account-token" {
        fill_at(merged, live, &["data"]);
    }
}

// Selector and template labels are generated from the uid, and a job whose template differs is refused.
fn job(merged: &mut Value, live: &Value) {
    if merged["spec"]["manualSelector"] == true {
        return;
    }
    fill_at(merged, live, &["spec", "selector"]);
    fill_at(merged, live, &["spec", "template", "metadata", "labels"]);
}

// Injected by whoever issues the certificate of the webhook.
fn conversion(merged: &mut Value, live: &Value) {
    let client = ["spec", "conversion", "webhook", "clientConfig"];
    if get(merged, &client).is_some_and(Value::is_object) {
        fill_at(merged, live, &[&client[..], &["caBundle"]].concat());
    }
}

fn webhooks(merged: &mut Value, live: &Value) {
    for webhook in items_mut(merged, &["webhooks"]) {
        let same = items(&live["webhooks"]).find(|live| live["name"] == webhook["name"]);
        if let Some(same) = same {
            fill_at(webhook, same, &["clientConfig", "caBundle"]);
        }
    }
}

// Puts what `live` has at a path, or below it, where `merged` has nothing.
fn fill_at(merged: &mut Value, live: &Value, place: &[&str]) {
    let Some(value) = get(live, place).filter(|value| !is_absent(value)) else {
        return;
    };
    match get_mut(merged, place) {
        Some(own) if !is_absent(own) => fill(own, value),
        _ => put(merged, place, value.clone()),
    }
}

fn fill(own: &mut Value, live: &Value) {
    let (Value::Object(own), Value::Object(live)) = (own, live) else {
        return;
    };
    for (name, value) in live {
        match own.get_mut(name) {
            Some(own) if !is_absent(own) => fill(own, value),
            _ => drop(own.insert(name.clone(), value.clone())),
        }
    }
}

// Brings the elements of a list into the live order, each filled up; live ones that are missing are added and
// new ones come last.
fn fill_list(merged: &mut Value, live: &Value, place: &[&str], key: &str) {
    let known: Vec<_> = get(live, place)
        .into_iter()
        .flat_map(items)
        .cloned()
        .collect();
    let Some(own) = get_mut(merged, place).and_then(Value::as_array_mut) else {
        return;
    };
    let mut new = std::mem::take(own);
    for mut element in known {
        if let Some(at) = new.iter().position(|own| own[key] == element[key]) {
            let mut wanted = new.remove(at);
            fill(&mut wanted, &element);
            element = wanted;
        }
        own.push(element);
    }
    own.append(&mut new);
}

// As the API server reads it: an empty text is no text.
fn is_absent(value: &Value) -> bool {
    value.is_null() || value == ""
}

fn items(value: &Value) -> std::slice::Iter<'_, Value> {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn items_mut<'a>(value: &'a mut Value, place: &[&str]) -> std::slice::IterMut<'a, Value> {
    match get_mut(value, place) {
        Some(Value::Array(items)) => items.iter_mut(),
        _ => [].iter_mut(),
    }
}

fn get<'a>(value: &'a Value, place: &[&str]) -> Option<&'a Value> {
    place.iter().try_fold(value, |value, name| value.get(name))
}

fn get_mut<'a>(value: &'a mut Value, place: &[&str]) -> Option<&'a mut Value> {
    place
        .iter()
        .try_fold(value, |value, name| value.get_mut(name))
}

// Puts a value, creating the objects above it; what is no object stays as it is.
fn put(value: &mut Value, place: &[&str], new: Value) {
    let Some((first, rest)) = place.split_first() else {
        *value = new;
        return;
    };
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(fields) = value {
        put(fields.entry(*first).or_insert(Value::Null), rest, new);
    }
}
