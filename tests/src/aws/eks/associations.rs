//! Pod Identity associations: which role a service account of a cluster gets.

use serde_json::{Map, Value, json};

use super::super::form;
use super::{Ask, Refusal, State, random_id};

#[derive(Clone, Debug)]
pub(super) struct Association {
    pub(super) arn: String,
    pub(super) tags: Map<String, Value>,
    id: String,
    cluster: String,
    namespace: String,
    service_account: String,
    role: String,
    target_role: Option<String>,
    disable_session_tags: bool,
    created: f64,
    modified: f64,
}

// === impl State ===

impl State {
    pub(super) fn create_association(&mut self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        let (namespace, service_account) = (ask.text("namespace")?, ask.text("serviceAccount")?);
        let role = ask.text("roleArn")?;
        let created = self.now();
        let associations = &mut self.cluster(ask).associations;
        if let Some(other) = associations
            .iter()
            .find(|other| other.is_for(&namespace, &service_account))
        {
            let message = format!("Association already exists: {}", other.id);
            return Err(Refusal(409, "ResourceInUseException", message));
        }
        let (id, cluster) = (format!("a-{}", random_id()), ask.path("clusterName"));
        let association = Association {
            arn: ask.arn(&format!("podidentityassociation/{cluster}/{id}")),
            tags: ask.tags(),
            id,
            cluster: cluster.to_owned(),
            namespace,
            service_account,
            role,
            target_role: ask.optional("targetRoleArn"),
            disable_session_tags: ask.body.get("disableSessionTags") == Some(&Value::Bool(true)),
            created,
            modified: created,
        };
        let body = association.body();
        associations.push(association);
        Ok(body)
    }

    pub(super) fn describe_association(&mut self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        let index = self.association(ask)?;
        Ok(self.cluster(ask).associations[index].body())
    }

    pub(super) fn update_association(&mut self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        let index = self.association(ask)?;
        let modified = self.now();
        let association = &mut self.cluster(ask).associations[index];
        if let Some(role) = ask.optional("roleArn") {
            association.role = role;
        }
        if let Some(role) = ask.optional("targetRoleArn") {
            association.target_role = Some(role).filter(|role| !role.is_empty());
        }
        if let Some(Value::Bool(disable)) = ask.body.get("disableSessionTags") {
            association.disable_session_tags = *disable;
        }
        association.modified = modified;
        Ok(association.body())
    }

    pub(super) fn delete_association(&mut self, ask: &Ask<'_>) -> Result<Value, Refusal> {
        let index = self.association(ask)?;
        Ok(self.cluster(ask).associations.remove(index).body())
    }

    pub(super) fn list_associations(&mut self, ask: &Ask<'_>) -> Value {
        let wanted = |name: &str, value: &str| {
            let filter = form::field(&ask.query, name);
            filter.is_none_or(|filter| filter == value)
        };
        let associations = self.cluster(ask).associations.iter();
        let found = associations.filter(|one| {
            wanted("namespace", &one.namespace) && wanted("serviceAccount", &one.service_account)
        });
        let found: Vec<Value> = found.map(Association::summary).collect();
        ask.page("associations", &found)
    }

    fn association(&mut self, ask: &Ask<'_>) -> Result<usize, Refusal> {
        let id = ask.path("associationId");
        let found = self
            .cluster(ask)
            .associations
            .iter()
            .position(|one| one.id == id);
        found.ok_or_else(|| {
            let message = format!("No association found for id: {id}");
            Refusal(404, "ResourceNotFoundException", message)
        })
    }
}

// === impl Association ===

impl Association {
    fn is_for(&self, namespace: &str, service_account: &str) -> bool {
        self.namespace == namespace && self.service_account == service_account
    }

    fn summary(&self) -> Value {
        json!({
            "clusterName": self.cluster,
            "namespace": self.namespace,
            "serviceAccount": self.service_account,
            "associationArn": self.arn,
            "associationId": self.id,
        })
    }

    fn body(&self) -> Value {
        let mut association = self.summary();
        association["roleArn"] = json!(self.role);
        association["tags"] = json!(self.tags);
        association["createdAt"] = json!(self.created);
        association["modifiedAt"] = json!(self.modified);
        association["disableSessionTags"] = json!(self.disable_session_tags);
        if let Some(role) = &self.target_role {
            association["targetRoleArn"] = json!(role);
        }
        json!({ "association": association })
    }
}
