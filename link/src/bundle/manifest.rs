//! Which object a manifest declares, read from its JSON without any schema.

use serde_json::Value;

/// The coordinates of a Kubernetes object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Namespace, empty when the manifest names none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

// === impl ObjectRef ===

impl ObjectRef {
    /// Reads the coordinates; absent parts are empty.
    pub fn of(manifest: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let api_version = text(&manifest["apiVersion"]);
        let (group, version) = match api_version.split_once('/') {
            Some((group, version)) => (group.to_string(), version.to_string()),
            None => (String::new(), api_version),
        };
        Self {
            group,
            version,
            kind: text(&manifest["kind"]),
            namespace: text(&manifest["metadata"]["namespace"]),
            name: text(&manifest["metadata"]["name"]),
        }
    }

    /// `kind.group`, or `kind` for the core group, in lower case.
    pub fn kind_group(&self) -> String {
        let kind = self.kind.to_ascii_lowercase();
        if self.group.is_empty() {
            kind
        } else {
            format!("{kind}.{}", self.group)
        }
    }

    /// The plural that Kubernetes would most likely use; a cluster's discovery knows better.
    pub fn plural_guess(&self) -> String {
        let kind = self.kind.to_ascii_lowercase();
        match kind.as_str() {
            "endpoints" => kind,
            _ if kind.ends_with('s')
                || kind.ends_with('x')
                || kind.ends_with("ch")
                || kind.ends_with("sh") =>
            {
                format!("{kind}es")
            }
            _ if kind.ends_with('y')
                && !kind.ends_with("ay")
                && !kind.ends_with("ey")
                && !kind.ends_with("oy") =>
            {
                format!("{}ies", &kind[..kind.len() - 1])
            }
            _ => format!("{kind}s"),
        }
    }
}

/// Why no cluster can be brought to a manifest, whatever it serves: the path inside the manifest and the problem. Both
/// ends say it in these words, the API of the whole bundle, an agent of this manifest alone.
pub fn unfit(manifest: &Value) -> Option<(&'static str, String)> {
    let kind = manifest["kind"].as_str().unwrap_or_default();
    // As kubectl decides: a kind that ends so and has no `items` is a custom one.
    if kind == "List" && manifest["apiVersion"] == "v1"
        || kind.ends_with("List") && manifest["items"].is_array()
    {
        let kind: String = kind.chars().take(SHOWN).collect();
        return Some((
            "kind",
            format!("`{kind}` is not an object: post its items, each as a manifest"),
        ));
    }
    let owners = &manifest["metadata"]["ownerReferences"];
    let none = owners.is_null() || owners.as_array().is_some_and(Vec::is_empty);
    (!none).then(|| {
        let problem = "must not be set: an owner's uid belongs to one cluster, and where it is not known the object is \
                       collected as garbage; hint: take `ownerReferences` out of the manifest, the agent makes itself \
                       the owner";
        ("metadata.ownerReferences", problem.into())
    })
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

// Of a kind in a message; Kubernetes has 63.
const SHOWN: usize = 63;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_objects_owned_by_somebody_of_one_cluster_are_unfit() {
        let path = |manifest: Value| unfit(&manifest).map(|(path, _)| path);
        for list in [
            json!({"apiVersion": "v1", "kind": "List"}),
            json!({"apiVersion": "v1", "kind": "ConfigMapList", "items": []}),
        ] {
            assert_eq!(path(list), Some("kind"));
        }
        let owned =
            |owners: Value| json!({"kind": "ConfigMap", "metadata": {"ownerReferences": owners}});
        assert_eq!(
            path(owned(json!([{"uid": "1"}]))),
            Some("metadata.ownerReferences")
        );
        for fit in [
            owned(json!([])),
            owned(Value::Null),
            json!({"apiVersion": "example.com/v1", "kind": "AllowList", "spec": {"items": []}}),
            json!({"apiVersion": "example.com/v1", "kind": "List"}),
        ] {
            assert_eq!(path(fit), None);
        }
    }

    #[test]
    fn plurals_are_guessed_as_kubernetes_forms_them() {
        for (kind, plural) in [
            ("ConfigMap", "configmaps"),
            ("NetworkPolicy", "networkpolicies"),
            ("Ingress", "ingresses"),
            ("Gateway", "gateways"),
            ("Endpoints", "endpoints"),
        ] {
            let object = ObjectRef {
                kind: kind.into(),
                ..ObjectRef::default()
            };
            assert_eq!(object.plural_guess(), plural);
        }
        let deployment = ObjectRef::of(
            &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}),
        );
        assert_eq!(
            (
                deployment.kind_group().as_str(),
                deployment.version.as_str()
            ),
            ("deployment.apps", "v1")
        );
    }
}
