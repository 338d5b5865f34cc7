//! The CustomResourceDefinitions as `agent crds` prints them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{AppliedManifestWork, ManifestWork};

/// Both definitions.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [ManifestWork::crd(), AppliedManifestWork::crd()]
}

#[cfg(test)]
mod tests {
    use super::*;

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
