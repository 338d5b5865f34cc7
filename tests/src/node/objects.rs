//! Objects that every cluster of ours has beside the charts: the driver for secrets, and a class of storage with a few
//! volumes on the node.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::csi::NAME;

/// All of them, for a node of this name with volumes below a directory.
///
/// # Errors
/// When the directories of the volumes cannot be made.
pub(super) fn objects(node: &str, directory: &Path) -> io::Result<Vec<Value>> {
    let mut objects = vec![driver(), storage()];
    for number in 0..VOLUMES {
        let path = directory.join(number.to_string());
        std::fs::create_dir_all(&path)?;
        objects.push(volume(node, number, &path));
    }
    Ok(objects)
}

/// As the charts of driver and provider make it where rotation is switched on, which it is not by default.
fn driver() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": { "name": NAME },
        "spec": {
            "podInfoOnMount": true,
            "attachRequired": false,
            "volumeLifecycleModes": ["Ephemeral"],
            "requiresRepublish": true,
            "tokenRequests": [{ "audience": "sts.amazonaws.com" }, { "audience": "pods.eks.amazonaws.com" }],
        },
    })
}

fn storage() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "local",
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

fn volume(node: &str, number: usize, path: &Path) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": format!("local-{number}") },
        "spec": {
            "storageClassName": "local",
            "capacity": { "storage": "10Gi" },
            "accessModes": ["ReadWriteOnce"],
            "local": { "path": path },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] },
            ] }] } },
        },
    })
}

/// The definitions of the kinds that the stand-ins act on.
pub(super) const KINDS: [&str; 3] = [
    "secretproviderclasses.secrets-store.csi.x-k8s.io",
    "externalsecrets.external-secrets.io",
    "secretstores.external-secrets.io",
];

// One for each release with a StatefulSet that a test installs.
const VOLUMES: usize = 6;
