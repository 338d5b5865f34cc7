//! Which operation a method and a path mean, for the services that do not name it in the request: EKS and AWS IoT,
//! as far as the tests use them (the operations of the AWS SDK for Rust 1.x, in `src/operation/*.rs`).

use std::collections::BTreeMap;

use axum::http::Method;

use super::form;

/// An operation found by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) operation: &'static str,
    /// What the path holds, by name.
    pub(super) params: BTreeMap<String, String>,
}

/// The operation of a request, if it is one that is known. `path` is without its query.
pub(super) fn find(service: &str, method: &Method, path: &str) -> Option<Route> {
    table(service).find_map(|[verb, template, operation]| {
        (verb == method.as_str()).then_some(())?;
        let params = fill(template, path)?;
        Some(Route { operation, params })
    })
}

/// Method and path of an operation. Takes what the path holds out of `params`.
pub(super) fn path(
    service: &str,
    operation: &str,
    params: &mut serde_json::Map<String, serde_json::Value>,
) -> Option<(Method, String)> {
    let [verb, template, _] = table(service).find(|[_, _, name]| *name == operation)?;
    let mut path = String::new();
    for segment in template.trim_start_matches('/').split('/') {
        path.push('/');
        match parameter(segment) {
            Some(name) => path += &form::encode_segment(params.remove(name)?.as_str()?),
            None => path += segment,
        }
    }
    Some((verb.parse().ok()?, path))
}

/// Method, path and operation of what a service offers.
fn table(service: &str) -> impl Iterator<Item = [&'static str; 3]> {
    let lines = match service {
        "eks" => EKS,
        "iot" => IOT,
        "iotdata" => IOT_DATA,
        _ => "",
    };
    lines.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        words.try_into().ok()
    })
}

/// The name in a segment of a path such as `{clusterName}`.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn fill(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let mut params = BTreeMap::new();
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        match parameter(expected) {
            Some(name) if !segment.is_empty() => {
                params.insert(name.to_owned(), form::decode_segment(segment));
            }
            None if expected == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(params)
}

const EKS: &str = "\
POST /clusters CreateCluster
GET /clusters ListClusters
GET /clusters/{name} DescribeCluster
DELETE /clusters/{name} DeleteCluster
POST /clusters/{clusterName}/addons CreateAddon
GET /clusters/{clusterName}/addons ListAddons
GET /clusters/{clusterName}/addons/{addonName} DescribeAddon
POST /clusters/{clusterName}/addons/{addonName}/update UpdateAddon
DELETE /clusters/{clusterName}/addons/{addonName} DeleteAddon
GET /addons/supported-versions DescribeAddonVersions
POST /clusters/{clusterName}/pod-identity-associations CreatePodIdentityAssociation
GET /clusters/{clusterName}/pod-identity-associations ListPodIdentityAssociations
GET /clusters/{clusterName}/pod-identity-associations/{associationId} DescribePodIdentityAssociation
POST /clusters/{clusterName}/pod-identity-associations/{associationId} UpdatePodIdentityAssociation
DELETE /clusters/{clusterName}/pod-identity-associations/{associationId} DeletePodIdentityAssociation
GET /tags/{resourceArn} ListTagsForResource
POST /tags/{resourceArn} TagResource
DELETE /tags/{resourceArn} UntagResource
";

const IOT: &str = "\
GET /endpoint DescribeEndpoint
POST /certificates CreateCertificateFromCsr
GET /certificates ListCertificates
GET /certificates/{certificateId} DescribeCertificate
PUT /certificates/{certificateId} UpdateCertificate
DELETE /certificates/{certificateId} DeleteCertificate
POST /policies/{policyName} CreatePolicy
GET /policies/{policyName} GetPolicy
GET /policies ListPolicies
DELETE /policies/{policyName} DeletePolicy
POST /policies/{policyName}/version CreatePolicyVersion
GET /policies/{policyName}/version ListPolicyVersions
GET /policies/{policyName}/version/{policyVersionId} GetPolicyVersion
PATCH /policies/{policyName}/version/{policyVersionId} SetDefaultPolicyVersion
DELETE /policies/{policyName}/version/{policyVersionId} DeletePolicyVersion
PUT /target-policies/{policyName} AttachPolicy
POST /target-policies/{policyName} DetachPolicy
POST /policy-targets/{policyName} ListTargetsForPolicy
POST /attached-policies/{target} ListAttachedPolicies
POST /things/{thingName} CreateThing
GET /things/{thingName} DescribeThing
PATCH /things/{thingName} UpdateThing
DELETE /things/{thingName} DeleteThing
GET /things ListThings
PUT /things/{thingName}/principals AttachThingPrincipal
DELETE /things/{thingName}/principals DetachThingPrincipal
GET /things/{thingName}/principals ListThingPrincipals
GET /things/{thingName}/principals-v2 ListThingPrincipalsV2
GET /principals/things ListPrincipalThings
GET /principals/things-v2 ListPrincipalThingsV2
POST /tags TagResource
POST /untag UntagResource
GET /tags ListTagsForResource
";

const IOT_DATA: &str = "\
DELETE /connections/{clientId} DeleteConnection
";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_and_its_operation_find_each_other() {
        for (service, count) in [("eks", 18), ("iot", 33), ("iotdata", 1)] {
            assert_eq!(table(service).count(), count);
            for [verb, template, operation] in table(service) {
                let mut params = json!({});
                for name in template.split('/').filter_map(parameter) {
                    params[name] = json!("a:b/c d");
                }
                let (method, path) =
                    path(service, operation, params.as_object_mut().unwrap()).unwrap();
                assert_eq!(method.as_str(), verb);
                assert_eq!(params, json!({}));
                let route = find(service, &method, &path).unwrap();
                assert_eq!(route.operation, operation);
                assert!(
                    route.params.values().all(|value| value == "a:b/c d"),
                    "{route:?}"
                );
            }
        }
    }

    #[test]
    fn other_paths_are_unknown() {
        assert_eq!(
            find("eks", &Method::GET, "/clusters/a/fargate-profiles"),
            None
        );
        assert_eq!(find("iot", &Method::GET, "/things/"), None);
    }
}
