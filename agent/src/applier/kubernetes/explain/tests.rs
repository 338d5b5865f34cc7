//! The answers are those of kube-apiserver 1.36.

use serde_json::{Value, json};

use super::*;

fn object(api_version: &str, kind: &str) -> ObjectRef {
    ObjectRef::of(&json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": "web", "namespace": "shop"},
    }))
}

fn told(verb: &str, object: &ObjectRef, status: Value) -> ApplierError {
    let status: Status = serde_json::from_value(status).unwrap();
    explain(&kube::Error::Api(status.boxed()), verb, object)
}

#[test]
fn refusals_name_cause_and_next_step() {
    let deployment = object("apps/v1", "Deployment");
    let thing = object("example.com/v1", "Thing");
    let forbidden = ApplierErrorKind::Forbidden;
    let invalid = ApplierErrorKind::Invalid;
    let later = ApplierErrorKind::Unavailable;
    for (object, status, kind, message) in [
        (
            &deployment,
            json!({"code": 401, "reason": "Unauthorized", "message": "Unauthorized"}),
            &later,
            "Unauthorized; hint: the cluster does not know the agent's credentials: renew its token or certificate",
        ),
        (
            &deployment,
            json!({"code": 403, "reason": "Forbidden", "message": "deployments.apps \"web\" is forbidden: User \"weak\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\""}),
            &forbidden,
            "deployments.apps \"web\" is forbidden: User \"weak\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\"; hint: let that user `patch` `deployments.apps`; `agent permissions` prints the role",
        ),
        (
            &deployment,
            json!({"code": 403, "reason": "Forbidden", "message": "namespaces is forbidden: User \"weak\" cannot create resource \"namespaces\" in API group \"\" at the cluster scope"}),
            &forbidden,
            "namespaces is forbidden: User \"weak\" cannot create resource \"namespaces\" in API group \"\" at the cluster scope; hint: let that user `create` `namespaces`; `agent permissions` prints the role",
        ),
        (
            &deployment,
            json!({"code": 403, "reason": "Forbidden", "message": "configmaps \"q\" is forbidden: unable to create new content in namespace shop because it is being terminated", "details": {"causes": [{"reason": "NamespaceTerminating", "message": "namespace shop is being terminated", "field": "metadata.namespace"}]}}),
            &later,
            "configmaps \"q\" is forbidden: unable to create new content in namespace shop because it is being terminated; hint: wait until namespace `shop` is gone; it is tried again",
        ),
        (
            &deployment,
            json!({"code": 403, "reason": "Forbidden", "message": "pods \"q\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"}),
            &forbidden,
            "pods \"q\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1; hint: raise the quota of the namespace or ask for less",
        ),
        (
            &deployment,
            json!({"code": 403, "reason": "Forbidden", "message": "admission webhook \"policy.example.com\" denied the request: no latest tags"}),
            &forbidden,
            "admission webhook \"policy.example.com\" denied the request: no latest tags; hint: change the manifest as webhook `policy.example.com` demands, or its policy",
        ),
        (
            &deployment,
            json!({"code": 422, "reason": "Invalid", "message": "configmaps \"evil\" is forbidden: ValidatingAdmissionPolicy 'pol' with binding 'bind' denied request: no evil", "details": {"name": "evil", "kind": "configmaps", "causes": [{"message": "ValidatingAdmissionPolicy 'pol' with binding 'bind' denied request: no evil"}]}}),
            &forbidden,
            "configmaps \"evil\" is forbidden: ValidatingAdmissionPolicy 'pol' with binding 'bind' denied request: no evil; hint: change the manifest as policy `pol` demands, or the policy",
        ),
        (
            &deployment,
            json!({"code": 500, "reason": "InternalError", "message": "Internal error occurred: failed calling webhook \"wh.example.com\": connection refused"}),
            &later,
            "Internal error occurred: failed calling webhook \"wh.example.com\": connection refused; hint: see that the service behind webhook `wh.example.com` runs; it is tried again",
        ),
        (
            &thing,
            json!({"code": 404, "reason": "Failed to parse error data", "message": "404 page not found\n"}),
            &later,
            "404 page not found; hint: install the CustomResourceDefinition `things.example.com` with version `v1`, for example in the same work; it is tried again",
        ),
        (
            &object("apps/v9", "Deployment"),
            json!({"code": 404, "reason": "NotFound", "message": "the server could not find the requested resource", "details": {}}),
            &later,
            "the server could not find the requested resource; hint: this cluster does not serve `apps/v9` Deployment: use a version it has (`kubectl api-resources`)",
        ),
        (
            &deployment,
            json!({"code": 404, "reason": "NotFound", "message": "namespaces \"shop\" not found", "details": {"name": "shop", "kind": "namespaces"}}),
            &ApplierErrorKind::NoNamespace,
            "namespaces \"shop\" not found; hint: put the Namespace `shop` into the work, before this object, or create it on the cluster; it is tried again",
        ),
        (
            &deployment,
            json!({"code": 409, "reason": "Conflict", "message": "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again"}),
            &later,
            "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again; hint: somebody else wrote it meanwhile; it is read again and tried again",
        ),
        (
            &deployment,
            json!({"code": 409, "reason": "AlreadyExists", "message": "deployments.apps \"web\" already exists"}),
            &later,
            "deployments.apps \"web\" already exists; hint: somebody else created it meanwhile; it is read again",
        ),
        (
            &deployment,
            json!({"code": 413, "reason": "RequestEntityTooLarge", "message": "Request entity too large: limit is 3145728"}),
            &invalid,
            "Request entity too large: limit is 3145728; hint: the object is too large for the cluster: split it",
        ),
        (
            &deployment,
            json!({"code": 500, "message": "etcdserver: request is too large"}),
            &invalid,
            "etcdserver: request is too large; hint: the object is too large for the cluster: split it",
        ),
        (
            &deployment,
            json!({"code": 422, "reason": "Invalid", "message": "Deployment.apps \"web\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.selector: Required value]", "details": {"causes": [
                {"reason": "FieldValueInvalid", "message": "Invalid value: -1: must be greater than or equal to 0", "field": "spec.replicas"},
                {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"}]}}),
            &invalid,
            "invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0; spec.selector: Required value; hint: correct these fields in the manifest (`kubectl explain` describes them)",
        ),
        (
            &deployment,
            json!({"code": 422, "reason": "Invalid", "message": "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: {}: field is immutable", "details": {"causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: {}: field is immutable", "field": "spec.selector"}]}}),
            &invalid,
            "invalid: spec.selector: Invalid value: {}: field is immutable; hint: it cannot be changed in place: delete the object or give the new one another name; the strategy `CreateOnly` leaves objects that exist alone",
        ),
        (
            &deployment,
            json!({"code": 500, "message": "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema"}),
            &invalid,
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema; hint: remove the field, or install the version of the API that has it",
        ),
        (
            &thing,
            json!({"code": 429, "reason": "TooManyRequests", "message": "storage is (re)initializing", "details": {"retryAfterSeconds": 1}}),
            &later,
            "storage is (re)initializing; hint: the kind was defined a moment ago and is not served yet; it is tried again",
        ),
        (
            &deployment,
            json!({"code": 429, "reason": "TooManyRequests", "message": "too many requests"}),
            &later,
            "too many requests; hint: the API server is busy; it is tried again",
        ),
        (
            &deployment,
            json!({"code": 503, "reason": "ServiceUnavailable"}),
            &later,
            "the API server answered 503 ServiceUnavailable; hint: the API server fails; it is tried again, its log tells more",
        ),
    ] {
        let error = told("apply", object, status);
        assert_eq!(error.message, format!("apply {object}: {message}"));
        assert_eq!(error.kind, *kind, "{message}");
    }
}

#[test]
fn field_conflicts_name_their_owners() {
    let error = told(
        "apply",
        &object("apps/v1", "Deployment"),
        json!({"code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas", "details": {"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"hpa\" with subresource \"scale\" using apps/v1", "field": ".spec.replicas"}]}}),
    );
    assert_eq!(
        error.kind,
        ApplierErrorKind::Conflict {
            owner: "hpa".into()
        }
    );
    assert!(!error.is_retryable());
    assert!(
        error.message.starts_with(
            "apply Deployment shop/web: conflict with `hpa`: .spec.replicas; hint: set"
        )
    );
}

#[test]
fn replaced_objects_are_left_alone() {
    let error = told(
        "delete",
        &object("apps/v1", "Deployment"),
        json!({"code": 409, "reason": "Conflict", "message": "Operation cannot be fulfilled on Deployment.apps \"web\": the UID in the precondition (x) does not match the UID in record (y). The object might have been deleted and then recreated"}),
    );
    assert!(
        error
            .message
            .ends_with("; hint: somebody else replaced it; the new object is left alone")
    );
}

#[test]
fn contents_of_secrets_are_never_quoted() {
    let secret = object("v1", "Secret");
    let value = "hunter2";
    for (status, told_instead) in [
        (
            json!({"code": 500, "message": "failed to create typed patch object (/s; /v1, Kind=Secret): .data: expected map, got &{hunter2}"}),
            "code 500",
        ),
        (
            json!({"code": 500, "message": "failed to create typed patch object (/s; /v1, Kind=Secret): .data.p: expected string, got &value.valueUnstructured{Value:map[string]interface {}{\"x\":\"hunter2\"}}"}),
            "code 500",
        ),
        (
            json!({"code": 422, "reason": "Invalid", "message": "Secret \"s\" is invalid: data[p]: Invalid value: \"hunter2\": bad", "details": {"causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: \"hunter2\": bad", "field": "data[p]"}]}}),
            "invalid: data[p]: FieldValueInvalid",
        ),
        (
            json!({"code": 400, "reason": "BadRequest", "message": "Secret in version \"v1\" cannot be handled as a Secret: hunter2"}),
            "code 400",
        ),
        (
            json!({"code": 400, "reason": "BadRequest", "message": "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 7 of hunter2"}),
            "illegal base64 data; hint: values under `data` are base64",
        ),
        (
            json!({"code": 403, "reason": "Forbidden", "message": "admission webhook \"w\" denied the request: weak value hunter2"}),
            "webhook `w`",
        ),
        (
            json!({"code": 500, "reason": "InternalError", "message": "cannot store hunter2"}),
            "code 500",
        ),
    ] {
        let error = told("apply", &secret, status);
        assert!(!error.message.contains(value), "{error}");
        assert!(error.message.contains(told_instead), "{error}");
    }
    let unreadable = serde_json::from_str::<u8>("\"hunter2\"").unwrap_err();
    let error = explain(&kube::Error::SerdeError(unreadable), "get", &secret);
    assert!(!error.message.contains(value), "{error}");
}

#[test]
fn long_words_are_cut() {
    let message = format!("Invalid value: {}: field is immutable", "ä".repeat(5_000));
    let causes: Vec<_> = (0..20)
        .map(|n| json!({"reason": "FieldValueInvalid", "message": message, "field": format!("f{n}")}))
        .collect();
    let error = told(
        "apply",
        &object("apps/v1", "Deployment"),
        json!({"code": 422, "reason": "Invalid", "message": "x", "details": {"causes": causes}}),
    );
    assert!(
        error.message.contains("f4: Invalid value: ä")
            && error
                .message
                .contains("ä: field is immutable; and 15 more; hint: "),
        "{error}"
    );
    assert!(error.message.chars().count() < 2_000);
    let html = json!({"code": 502, "reason": "Failed to parse error data", "message": "<html>\n".repeat(5_000)});
    let error = told("apply", &object("apps/v1", "Deployment"), html);
    assert_eq!(error.kind, ApplierErrorKind::Unavailable);
    assert!(error.message.chars().count() < 1_200 && !error.message.contains('\n'));
}

#[test]
fn no_answer_is_told_with_its_causes_and_retried() {
    let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
    let error = explain(
        &kube::Error::Service(refused.into()),
        "apply",
        &object("apps/v1", "Deployment"),
    );
    assert_eq!(
        error.message,
        "apply Deployment shop/web: no answer from the API server: connection refused; hint: see that the API server \
         runs and can be reached from the agent; it is tried again"
    );
    assert!(error.is_retryable());
}

#[test]
fn kinds_that_discovery_misses_name_their_definition() {
    let missing = kube::error::DiscoveryError::MissingKind("Thing".into());
    let error = explain(
        &kube::Error::Discovery(missing),
        "apply",
        &object("example.com/v2", "Thing"),
    );
    assert!(
        error
            .message
            .contains("`things.example.com` with version `v2`"),
        "{error}"
    );
    assert!(error.is_retryable());
}
