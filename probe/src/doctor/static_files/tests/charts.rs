//! Values of the charts against their schemas.

use regex_lite::Regex;
use serde_json::Value;

use super::super::values::Chart;
use super::*;

const WORDS: &[&str] = &[
    "$schema",
    "additionalProperties",
    "anyOf",
    "description",
    "enum",
    "items",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
];

fn only_known_words(at: &str, schema: &Value) {
    let Some(pairs) = schema.as_object() else {
        assert!(schema.is_boolean(), "{at}");
        return;
    };
    for (key, value) in pairs {
        assert!(
            WORDS.contains(&key.as_str()),
            "{at}: `{key}` is not checked"
        );
        match (key.as_str(), value) {
            ("properties", Value::Object(all)) => {
                for (key, schema) in all {
                    only_known_words(&format!("{at}.{key}"), schema);
                }
            }
            ("items" | "additionalProperties", schema) => only_known_words(at, schema),
            ("anyOf", Value::Array(forms)) => {
                forms.iter().for_each(|form| only_known_words(at, form));
            }
            ("pattern", Value::String(text)) => {
                assert!(Regex::new(text).is_ok(), "{at}: `{text}` cannot be read");
            }
            _ => {}
        }
    }
}

#[test]
fn the_charts_say_nothing_that_is_not_checked_here() {
    for chart in [Chart::Agent, Chart::Bridge] {
        let schema = chart.schema();
        assert!(schema["properties"].as_object().unwrap().len() > 40);
        only_known_words(chart.name(), &schema);
    }
}

#[test]
fn the_values_of_the_charts_themselves_are_healthy() {
    for (chart, text) in [
        (
            "agent",
            include_str!("../../../../../deploy/charts/agent/values.yaml"),
        ),
        (
            "server-bridge",
            include_str!("../../../../../deploy/charts/server-bridge/values.yaml"),
        ),
    ] {
        let found = looked(&[("values.yaml", text)]);
        healthy(&found);
        assert!(
            found[0].seen.contains(&format!("the chart `{chart}`")),
            "{found:#?}"
        );
    }
}

#[test]
fn values_that_the_chart_takes_are_healthy_at_the_limits_too() {
    for text in [
        "consumerName: ''\n",
        "consumerName: '{{ .Values.global.cluster_name }}'\nglobal: {cluster_name: a, other: {b: 1}}\n",
        "consumerName: a\nreplicas: 5\n",
        "consumerName: a\nreplicas: 0\nterminationGracePeriodSeconds: 15\n",
        "consumerName: a\nreplicas: 2.0\n",
        "consumerName: a\npodSecurityContext: {runAsUser: null, runAsGroup: null}\n",
        "consumerName: a\nimage: {pullSecrets: [a, {name: b}]}\n",
        "consumerName: a\nextraEnv: [{name: A, value: b}]\ncommonLabels: {a: b}\n",
        "clientId: a\nreplicas: null\n",
        "clientId: a\nreplicas: 2\nstore: postgres\nslots: 8\n",
        "{\"consumerName\": \"a\"}",
    ] {
        healthy(&looked(&[("values.yaml", text)]));
    }
}

#[test]
fn values_that_the_chart_refuses_are_told_by_path_and_line_and_never_shown() {
    for (text, line, path, next) in [
        (
            "consumername: CANARY\nreplicas: 1\nrbac: {}\n",
            1,
            "consumername",
            "`consumerName`",
        ),
        (
            "consumerName: a\nimage:\n  repositry: CANARY\n",
            3,
            "image.repositry",
            "`repository`",
        ),
        (
            "consumerName: a\npullPolicy: CANARY\n",
            2,
            "pullPolicy",
            "`image.pullPolicy`",
        ),
        ("consumerName: a\nzzz: CANARY\n", 2, "zzz", "remove it"),
        (
            "consumerName: [CANARY]\nrbac: {}\n",
            1,
            "consumerName",
            "write a text",
        ),
        (
            "consumerName: a\nreplicas: CANARY\n",
            2,
            "replicas",
            "write a whole number",
        ),
        (
            "consumerName: a\nreplicas: 1.5\n",
            2,
            "replicas",
            "write a whole number",
        ),
        (
            "consumerName: a\nreplicas: 6\n",
            2,
            "replicas",
            "write 5 or less",
        ),
        (
            "consumerName: a\nterminationGracePeriodSeconds: 14\n",
            2,
            "terminationGracePeriodSeconds",
            "write 15 or more",
        ),
        (
            "consumerName: a\nimage: {pullPolicy: CANARY}\n",
            2,
            "image.pullPolicy",
            "`Always`",
        ),
        (
            "consumerName: a\nimage: {digest: 'sha256:CANARY'}\n",
            2,
            "image.digest",
            "sha256:[0-9a-f]{64}",
        ),
        (
            "consumerName: a\nimage: CANARY\n",
            2,
            "image",
            "write a section",
        ),
        (
            "consumerName: a\nimage: null\n",
            2,
            "image",
            "remove the line",
        ),
        (
            "consumerName: a\nsecrets: {certificate: ''}\n",
            2,
            "secrets.certificate",
            "write it",
        ),
        (
            "consumerName: a\nadoptAgentIds: [b, 1]\n",
            2,
            "adoptAgentIds[1]",
            "write a text",
        ),
        (
            "consumerName: a\nextraEnv:\n  - {value: CANARY}\n",
            2,
            "extraEnv[0].name",
            "add it",
        ),
        (
            "consumerName: a\nimage: {pullSecrets: [{nam: CANARY}]}\n",
            2,
            "image.pullSecrets[0].nam",
            "`name`",
        ),
        (
            "consumerName: a\nkubeApi: {qps: '500'}\n",
            2,
            "kubeApi.qps",
            "write a number",
        ),
        (
            "consumerName: a\ninstallCRDs: 'yes'\n",
            2,
            "installCRDs",
            "write true or false",
        ),
        ("clientId: a\nstore: CANARY\n", 2, "store", "`sqlite`"),
        ("clientId: a\nconnections: 0\n", 2, "connections", "or more"),
    ] {
        let found = looked(&[("values.yaml", text)]);
        let finding = only(&found, VALUES, &[path]);
        // A field that is missing has the line of what is around it.
        let at = finding
            .seen
            .split_once(" line ")
            .map(|(_, rest)| rest.split(':').next().unwrap());
        assert!(
            at.is_some_and(|at| at.parse::<u64>().unwrap() >= line),
            "{finding:?}"
        );
        assert!(finding.next.contains(next), "{finding:?}");
        assert!(!format!("{found:?}").contains("CANARY"), "{found:#?}");
    }
}

#[test]
fn no_more_misfits_are_told_than_anybody_reads() {
    let keys: String = (0..150).map(|n| format!("zz{n}: 1\n")).collect();
    let found = looked(&[("values.yaml", &format!("consumerName: a\n{keys}"))]);
    assert_eq!(wrong(&found).len(), 101);
    only(&found, VALUES, &["50 more"]);
}
