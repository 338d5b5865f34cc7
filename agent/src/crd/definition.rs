//! The CustomResourceDefinitions as `agent crds` prints them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use super::{AppliedManifestWork, ManifestWork};

/// Both definitions.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [
        finished(ManifestWork::crd(), MANIFEST_WORK),
        finished(AppliedManifestWork::crd(), APPLIED_MANIFEST_WORK),
    ]
}

/// Both definitions as one text for `kubectl apply`.
pub fn yaml() -> String {
    definitions()
        .iter()
        .map(|definition| {
            // Plain data with text keys always serialises.
            let text = serde_saphyr::to_string(definition).unwrap_or_default();
            format!("---\n{text}")
        })
        .collect()
}

// The derived description of the whole kind says how it was made instead of what it is.
fn finished(
    mut definition: CustomResourceDefinition,
    description: &str,
) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut();
        if let Some(schema) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            schema.description = Some(description.into());
            without_defaults(schema);
        }
    }
    definition
}

// A server that fills in defaults gives back another object than it was sent.
fn without_defaults(schema: &mut JSONSchemaProps) {
    schema.default = None;
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|all| all.values_mut())
    {
        without_defaults(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        without_defaults(items);
    }
}

const MANIFEST_WORK: &str =
    "A set of manifests that this cluster was told to hold, and what became of them.";
const APPLIED_MANIFEST_WORK: &str =
    "Which objects a work holds in this cluster; their owner, so that they go when it goes.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_what_they_were() {
        insta::assert_snapshot!(yaml());
    }

    #[test]
    fn the_definitions_keep_a_manifest_that_is_no_object() {
        let [works, _] = definitions();
        let schema = serde_json::to_value(&works.spec.versions[0]).unwrap();
        let items = &schema["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["workload"]
            ["properties"]["manifests"]["items"];
        assert_eq!(
            items["x-kubernetes-preserve-unknown-fields"], true,
            "{schema:#}"
        );
        assert_eq!(items["nullable"], true);
    }
}
