use link::bundle::Spec;
use serde_json::{Value, from_value};

use super::*;

fn spec(value: Value) -> Spec {
    from_value(value).unwrap()
}

fn needs(works: Vec<(&str, Value)>) -> Needs {
    let mut needs = Needs::default();
    for (name, value) in works {
        needs.add(name, spec(value), |object| {
            (object.group != "example.com").then(|| object.plural_guess())
        });
    }
    needs
}

fn printed(needs: &Needs, account: Option<&ServiceAccount>) -> String {
    let mut out = Vec::new();
    let subject = Subject {
        consumer: "cluster1",
        namespace: "maestro",
        account,
    };
    write(&mut out, &subject, needs).unwrap();
    String::from_utf8(out).unwrap()
}

fn manifest(api_version: &str, kind: &str) -> Value {
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "a", "namespace": "n" } })
}

fn with_strategy(group: &str, resource: &str, manifest: &Value, strategy: &str) -> Value {
    json!({
        "workload": { "manifests": [manifest] },
        "manifests": [manifest],
        "manifestConfigs": [{
            "resourceIdentifier": { "group": group, "resource": resource, "namespace": "*", "name": "*" },
            "updateStrategy": { "type": strategy },
        }],
    })
}

fn works() -> Vec<(&'static str, Value)> {
    let map = manifest("v1", "ConfigMap");
    let plain = |manifest: Value| json!({ "manifests": [manifest] });
    vec![
        ("e-default", plain(map.clone())),
        ("d-default", plain(map.clone())),
        ("c-default", plain(map.clone())),
        ("b-default", plain(map)),
        (
            "observer",
            with_strategy(
                "apps",
                "deployments",
                &manifest("apps/v1", "Deployment"),
                "ReadOnly",
            ),
        ),
        (
            "updater",
            with_strategy("batch", "jobs", &manifest("batch/v1", "Job"), "Update"),
        ),
        ("custom", plain(manifest("example.com/v1", "Widget"))),
        (
            "giver",
            json!({
                "manifests": [manifest("rbac.authorization.k8s.io/v1", "Role")],
                "executer": { "subject": {
                    "type": "ServiceAccount",
                    "serviceAccount": { "namespace": "shop", "name": "deployer" },
                }},
            }),
        ),
    ]
}

#[test]
fn role_of_works_with_every_strategy() {
    let account = ServiceAccount {
        namespace: "maestro".into(),
        name: "agent".into(),
    };
    insta::assert_snapshot!(printed(&needs(works()), Some(&account)));
}

#[test]
fn role_without_works_is_what_the_agent_needs_for_itself() {
    insta::assert_snapshot!(printed(&Needs::default(), None));
}

#[test]
fn order_of_works_does_not_matter() {
    let mut reversed = works();
    reversed.reverse();
    assert_eq!(
        printed(&needs(reversed), None),
        printed(&needs(works()), None)
    );
}

#[test]
fn page_is_yaml_and_hostile_names_stay_in_their_place() {
    let hostile = manifest(
        "\"]\n  - apiGroups: [\"*\"]/v1",
        "x\n  - apiGroups: ['*']\n    resources: ['*']\n    verbs: ['*']\u{2028}#",
    );
    let page = printed(&needs(vec![("a", json!({ "manifests": [hostile] }))]), None);
    let documents: Vec<Value> = page
        .split("---\n")
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect();
    let rules = documents[0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 4);
    assert!(rules.iter().all(|rule| rule["verbs"] != json!(["*"])));
}
