//! Add-ons of a cluster.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::form;
use super::{Ask, Refusal, State, invalid};

#[derive(Clone, Debug)]
pub(super) struct Addon {
    pub(super) arn: String,
    pub(super) tags: Map<String, Value>,
    name: String,
    cluster: String,
    version: String,
    /// As given: AWS gives it back to the letter.
    configuration: Option<String>,
    role: Option<String>,
    created: f64,
    modified: f64,
    phase: Phase,
    /// Reads until the phase is over.
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Creating,
    Updating,
    Deleting,
}

// === impl State ===

impl State {
    pub(super) fn create_addon(&mut self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        let name = ask.text("addonName")?;
        let (version, configuration) = input(ask)?;
        let (created, left) = (self.now(), self.settle);
        let cluster = ask.path("clusterName");
        let addons = &mut self.cluster(ask).addons;
        if addons.contains_key(&name) {
            return Err(Refusal(
                409,
                "ResourceInUseException",
                "Addon already exists.".into(),
            ));
        }
        let addon = Addon {
            arn: ask.arn(&format!("addon/{cluster}/{name}/{}", Uuid::new_v4())),
            tags: ask.tags(),
            name: name.clone(),
            cluster: cluster.to_owned(),
            version: version.unwrap_or_else(|| VERSION.into()),
            configuration,
            role: ask.optional("serviceAccountRoleArn"),
            created,
            modified: created,
            phase: Phase::Creating,
            left,
        };
        let mut body = addon.body();
        // Whatever comes next, the answer to the creation itself is always this.
        body["addon"]["status"] = json!("CREATING");
        addons.insert(name, addon);
        Ok(body)
    }

    pub(super) fn describe_addon(&mut self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        self.addon(ask)?;
        let addons = &mut self.cluster(ask).addons;
        let name = ask.path("addonName");
        let addon = addons.get_mut(name).ok_or_else(|| missing(ask))?;
        let body = addon.body();
        if addon.left > 0 {
            addon.left -= 1;
        }
        Ok(body)
    }

    pub(super) fn update_addon(&mut self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        let (version, configuration) = input(ask)?;
        let (modified, left) = (self.now(), self.settle);
        let addon = self.addon(ask)?;
        if addon.left > 0 {
            let message = format!(
                "Addon {} cannot be updated as it is currently in {} state",
                addon.name,
                addon.status()
            );
            return Err(Refusal(409, "ResourceInUseException", message));
        }
        let mut params = Vec::new();
        if let Some(version) = version {
            params.push(json!({ "type": "AddonVersion", "value": version }));
            addon.version = version;
        }
        if let Some(configuration) = configuration {
            params.push(json!({ "type": "ConfigurationValues", "value": configuration }));
            addon.configuration = Some(configuration);
        }
        if let Some(role) = ask.optional("serviceAccountRoleArn") {
            params.push(json!({ "type": "ServiceAccountRoleArn", "value": role }));
            addon.role = Some(role);
        }
        if let Some(resolve) = ask.optional("resolveConflicts") {
            params.push(json!({ "type": "ResolveConflicts", "value": resolve }));
        }
        (addon.modified, addon.phase, addon.left) = (modified, Phase::Updating, left);
        let id = Uuid::new_v4();
        Ok(json!({ "update": {
            "id": id, "status": "InProgress", "type": "AddonUpdate", "params": params, "createdAt": modified, "errors": []
        } }))
    }

    pub(super) fn delete_addon(&mut self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        let left = self.settle;
        let addon = self.addon(ask)?;
        (addon.phase, addon.left) = (Phase::Deleting, left);
        let mut body = addon.body();
        body["addon"]["status"] = json!("DELETING");
        Ok(body)
    }

    pub(super) fn list_addons(&mut self, ask: &Ask<'_>) -> Value {
        self.bury(ask);
        let names = self.cluster(ask).addons.keys();
        let names: Vec<Value> = names.map(|name| json!(name)).collect();
        ask.page("addons", &names)
    }

    fn addon(&mut self, ask: &Ask<'_>) -> Result<&mut Addon, Refusal> {
        self.bury(ask);
        let addon = self.cluster(ask).addons.get_mut(ask.path("addonName"));
        addon.ok_or_else(|| missing(ask))
    }

    /// Forgets what has been deleted long enough.
    fn bury(&mut self, ask: &Ask<'_>) {
        let addons = &mut self.cluster(ask).addons;
        addons.retain(|_, addon| addon.phase != Phase::Deleting || addon.left > 0);
    }
}

// === impl Addon ===

impl Addon {
    fn status(&self) -> &'static str {
        match self.phase {
            _ if self.left == 0 => "ACTIVE",
            Phase::Creating => "CREATING",
            Phase::Updating => "UPDATING",
            Phase::Deleting => "DELETING",
        }
    }

    fn body(&self) -> Value {
        let mut addon = json!({
            "addonName": self.name,
            "clusterName": self.cluster,
            "status": self.status(),
            "addonVersion": self.version,
            "health": { "issues": [] },
            "addonArn": self.arn,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "tags": self.tags,
        });
        if let Some(configuration) = &self.configuration {
            addon["configurationValues"] = json!(configuration);
        }
        if let Some(role) = &self.role {
            addon["serviceAccountRoleArn"] = json!(role);
        }
        json!({ "addon": addon })
    }
}

/// `DescribeAddonVersions`: one version of each add-on, good for every cluster.
pub(super) fn versions(ask: &Ask<'_>) -> Value {
    let wanted = form::field(&ask.query, "addonName");
    let cluster = form::field(&ask.query, "kubernetesVersion").unwrap_or_else(|| "1.33".into());
    let names = NAMES
        .iter()
        .filter(|name| wanted.as_deref().is_none_or(|wanted| wanted == **name));
    let addons = names.map(|name| {
        json!({
            "addonName": name,
            "type": "security",
            "owner": "aws",
            "publisher": "eks",
            "addonVersions": [{
                "addonVersion": VERSION,
                "architecture": ["amd64", "arm64"],
                "compatibilities": [{
                    "clusterVersion": cluster, "platformVersions": ["*"], "defaultVersion": true
                }],
                "requiresConfiguration": false,
            }],
        })
    });
    json!({ "addons": addons.collect::<Vec<_>>() })
}

/// Version and configuration that a request asks for.
fn input(ask: &Ask<'_>) -> Result<(Option<String>, Option<String>), Refusal> {
    if ask
        .body
        .get("podIdentityAssociations")
        .is_some_and(|value| value != &json!([]))
    {
        let message = "the EKS of the tests has no podIdentityAssociations in add-ons";
        return Err(invalid(message.into()));
    }
    let configuration = ask.optional("configurationValues");
    if let Some(text) = configuration.as_deref().filter(|text| !text.is_empty()) {
        // The API takes YAML too; whoever is tested here writes JSON.
        serde_json::from_str::<Map<String, Value>>(text)
            .map_err(|_| invalid("ConfigurationValue is not in valid JSON format".into()))?;
    }
    Ok((ask.optional("addonVersion"), configuration))
}

fn missing(ask: &Ask<'_>) -> Refusal {
    let (name, cluster) = (ask.path("addonName"), ask.path("clusterName"));
    let message = format!("No addon: {name} found in cluster: {cluster}");
    Refusal(404, "ResourceNotFoundException", message)
}

const VERSION: &str = "v1.3.8-eksbuild.2";

const NAMES: &[&str] = &[
    "aws-secrets-store-csi-driver-provider",
    "eks-pod-identity-agent",
    "coredns",
    "kube-proxy",
    "vpc-cni",
];
