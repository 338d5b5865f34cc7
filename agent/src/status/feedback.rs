//! Values read back from objects: well-known ones per kind, and JSONPaths in kubectl's dialect (docs/MAESTRO.md §6.9).

use link::bundle::manifest::ObjectRef;
use link::bundle::{FeedbackRule, FeedbackValue, FieldValue, JsonPath, go_json};
use serde_json::Value;
use serde_json_path::JsonPath as Path;

use crate::jsonpath;

mod well_known;

/// Reads every value the rules ask for. Errors leave the other values standing.
pub fn read(
    object: &Value,
    rules: &[FeedbackRule],
    max_raw_bytes: usize,
) -> (Vec<FeedbackValue>, Vec<String>) {
    let mut values = Vec::new();
    let mut errors = Vec::new();
    let coordinates = ObjectRef::of(object);
    for rule in rules {
        let asked = match rule.kind.as_str() {
            "WellKnownStatus" => well_known_values(object, &coordinates, max_raw_bytes),
            _ => rule
                .json_paths
                .iter()
                .map(|path| value(object, &coordinates, path, max_raw_bytes))
                .collect(),
        };
        for answer in asked {
            match answer {
                Ok(Some(value)) => values.push(value),
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    (values, errors)
}

/// A value, nothing where the object has none, or why it cannot be read.
type Answer = Result<Option<FeedbackValue>, String>;

fn well_known_values(object: &Value, coordinates: &ObjectRef, max_raw_bytes: usize) -> Vec<Answer> {
    let Some(known) = well_known::of(coordinates) else {
        return vec![Err(format!(
            "cannot find the wellknown statuses for resource with gvk {}/{}, Kind={}",
            coordinates.group, coordinates.version, coordinates.kind
        ))];
    };
    let read = |(name, paths): &well_known::NamedValue| {
        let mut answers = paths
            .iter()
            .map(|path| evaluate(object, name, path, max_raw_bytes));
        answers
            .find(|answer| *answer != Ok(None))
            .unwrap_or(Ok(None))
    };
    known.iter().map(read).collect()
}

fn value(object: &Value, coordinates: &ObjectRef, rule: &JsonPath, max_raw_bytes: usize) -> Answer {
    let JsonPath {
        name,
        version,
        path,
    } = rule;
    if !version.is_empty() && *version != coordinates.version {
        return Err(format!(
            "version {version} set in the path {name} is not matched for the related resource version {}",
            coordinates.version
        ));
    }
    evaluate(object, name, path, max_raw_bytes)
}

fn evaluate(object: &Value, name: &str, path: &str, max_raw_bytes: usize) -> Answer {
    let query = jsonpath::translate(path)
        .map_err(|problem| format!("path `{path}` of value {name} {problem}"))?;
    let query = Path::parse(&query)
        .map_err(|error| format!("path `{path}` of value {name} is not a JSONPath: {error}"))?;
    let found = query.query(object).all();
    let field_value = match found.as_slice() {
        [] | [Value::Null] => return Ok(None),
        [Value::String(text)] => FieldValue::String {
            string: text.clone(),
        },
        [Value::Bool(boolean)] => FieldValue::Boolean { boolean: *boolean },
        [Value::Number(number)] if let Some(integer) = number.as_i64() => {
            FieldValue::Integer { integer }
        }
        found => raw(name, found, max_raw_bytes)?,
    };
    Ok(Some(FeedbackValue {
        name: name.into(),
        field_value,
    }))
}

// Written one by one: what `..` finds holds itself over and over, and may be far larger together than the object.
fn raw(name: &str, found: &[&Value], max_bytes: usize) -> Result<FieldValue, String> {
    let mut json_raw = String::new();
    for (at, value) in found.iter().enumerate() {
        let json = go_json::to_string(value).map_err(|error| error.to_string())?;
        json_raw.push_str(if at == 0 { "" } else { "," });
        json_raw.push_str(&json);
        if json_raw.len() > max_bytes {
            break;
        }
    }
    if found.len() > 1 {
        json_raw = format!("[{json_raw}]");
    }
    if json_raw.len() > max_bytes {
        return Err(format!(
            "value {name} is {} bytes of JSON or more, the limit is {max_bytes}",
            json_raw.len()
        ));
    }
    Ok(FieldValue::JsonRaw { json_raw })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(value: Value) -> Vec<FeedbackRule> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn values_take_the_type_of_what_is_found() {
        let object = json!({"apiVersion": "v1", "kind": "X", "i": 3, "f": 1.5, "s": "t", "b": true, "n": null,
            "o": {"a": "<"}, "l": [1, 2], "metadata": {"labels": {"a.b/c-d": "e"}},
            "c": [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}]});
        let paths: Vec<Value> = [
            ".i",
            ".f",
            ".s",
            ".b",
            ".n",
            ".o",
            ".l",
            ".l[*]",
            ".missing",
            ".l[-1:]",
            r".metadata.labels.a\.b/c-d",
            r#".c[?(@.type=="B")].status"#,
        ]
        .iter()
        .map(|path| json!({"name": path, "path": path}))
        .collect();
        let (values, errors) = read(
            &object,
            &rules(json!([{"type": "JSONPaths", "jsonPaths": paths}])),
            1024,
        );
        assert_eq!(errors, Vec::<String>::new());
        insta::assert_snapshot!(
            values.iter().map(|value| serde_json::to_string(value).unwrap()).collect::<Vec<_>>().join("\n"),
            @r#"
        {"name":".i","fieldValue":{"type":"Integer","integer":3}}
        {"name":".f","fieldValue":{"type":"JsonRaw","jsonRaw":"1.5"}}
        {"name":".s","fieldValue":{"type":"String","string":"t"}}
        {"name":".b","fieldValue":{"type":"Boolean","boolean":true}}
        {"name":".o","fieldValue":{"type":"JsonRaw","jsonRaw":"{\"a\":\"\\u003c\"}"}}
        {"name":".l","fieldValue":{"type":"JsonRaw","jsonRaw":"[1,2]"}}
        {"name":".l[*]","fieldValue":{"type":"JsonRaw","jsonRaw":"[1,2]"}}
        {"name":".l[-1:]","fieldValue":{"type":"Integer","integer":2}}
        {"name":".metadata.labels.a\\.b/c-d","fieldValue":{"type":"String","string":"e"}}
        {"name":".c[?(@.type==\"B\")].status","fieldValue":{"type":"String","string":"False"}}
        "#
        );
    }

    #[test]
    fn every_problem_is_told_and_the_other_values_stand() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": {"b": "long enough"}, "c": 1}});
        let (values, errors) = read(
            &object,
            &rules(json!([
                {"type": "WellKnownStatus"},
                {"type": "JSONPaths", "jsonPaths": [
                    {"name": "raw", "path": ".data.a"}, {"name": "v", "version": "v2", "path": ".data.c"},
                    {"name": "bad", "path": ".data["}, {"name": "word", "path": "data"}, {"name": "c", "path": ".data.c"}]}
            ])),
            10,
        );
        assert_eq!(values.len(), 1);
        assert_eq!(errors.len(), 5, "{errors:?}");
        assert_eq!(
            errors[0],
            "cannot find the wellknown statuses for resource with gvk /v1, Kind=ConfigMap"
        );
        assert_eq!(
            errors[1],
            "value raw is 19 bytes of JSON or more, the limit is 10"
        );
    }

    #[test]
    fn every_known_kind_tells_its_values() {
        let conditions = |types: &[&str]| -> Value {
            let one = |kind: &&str| json!({"type": kind, "status": "True"});
            types.iter().map(one).collect()
        };
        let counts = json!({"replicas": 3, "readyReplicas": 2, "availableReplicas": 1, "updatedReplicas": 0});
        let ingress = |first: Value| json!({"loadBalancer": {"ingress": [first]}});
        let hosted = json!({"conditions": conditions(&["Available", "Progressing", "Degraded"]),
            "version": {"history": [{"version": "4.20.1", "state": "Completed"}, {"version": "4.19.0"}]}});
        let pool = json!({"replicas": 3, "conditions": conditions(&["Ready", "AllNodesHealthy", "UpdatingVersion"])});
        let told: Vec<String> = [
            ("apps/v1", "Deployment", counts.clone()),
            (
                "apps/v1",
                "DaemonSet",
                json!({"numberReady": 1, "desiredNumberScheduled": 2, "numberAvailable": 1}),
            ),
            (
                "batch/v1",
                "Job",
                json!({"succeeded": 1, "conditions": conditions(&["Complete"])}),
            ),
            (
                "v1",
                "Pod",
                json!({"phase": "Running", "conditions": conditions(&["Ready"])}),
            ),
            ("apps/v1", "StatefulSet", counts.clone()),
            ("apps/v1", "ReplicaSet", counts),
            (
                "batch/v1",
                "CronJob",
                json!({"lastScheduleTime": "2026-08-01T10:00:00Z"}),
            ),
            ("v1", "Namespace", json!({"phase": "Active"})),
            (
                "v1",
                "PersistentVolumeClaim",
                json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}),
            ),
            (
                "v1",
                "Service",
                ingress(json!({"ip": "10.0.0.1", "hostname": "h"})),
            ),
            (
                "networking.k8s.io/v1",
                "Ingress",
                ingress(json!({"hostname": "h.example"})),
            ),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({"conditions": conditions(&["NamesAccepted", "Established"])}),
            ),
            (
                "hypershift.openshift.io/v1beta1",
                "HostedCluster",
                hosted.clone(),
            ),
            ("hypershift.openshift.io/v1alpha1", "HostedCluster", hosted),
            ("hypershift.openshift.io/v1beta1", "NodePool", pool),
            ("v1", "Service", json!({})),
            ("apps/v1beta1", "Deployment", json!({})),
        ]
        .into_iter()
        .map(|(version, kind, status)| {
            let object = json!({"apiVersion": version, "kind": kind, "status": status});
            let (values, errors) =
                read(&object, &rules(json!([{"type": "WellKnownStatus"}])), 1024);
            let values: Vec<String> = values
                .iter()
                .map(|value| format!("{}={}", value.name, text(&value.field_value)))
                .collect();
            let told = [values, errors].concat().join(" ");
            format!("{kind}: {told}").trim_end().to_string()
        })
        .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        Deployment: ReadyReplicas=2 Replicas=3 AvailableReplicas=1
        DaemonSet: NumberReady=1 DesiredNumberScheduled=2 NumberAvailable=1
        Job: JobComplete=True JobSucceeded=1
        Pod: PodReady=True PodPhase=Running
        StatefulSet: ReadyReplicas=2 Replicas=3 AvailableReplicas=1 UpdatedReplicas=0
        ReplicaSet: ReadyReplicas=2 Replicas=3 AvailableReplicas=1
        CronJob: LastScheduleTime=2026-08-01T10:00:00Z
        Namespace: Phase=Active
        PersistentVolumeClaim: Phase=Bound Capacity=1Gi
        Service: LoadBalancerIngress=10.0.0.1
        Ingress: LoadBalancerIngress=h.example
        CustomResourceDefinition: Established=True NamesAccepted=True
        HostedCluster: Available=True Progressing=True Degraded=True Version=4.20.1 VersionState=Completed
        HostedCluster: Available=True Progressing=True Degraded=True Version=4.20.1 VersionState=Completed
        NodePool: Ready=True AllNodesHealthy=True UpdatingVersion=True Replicas=3
        Service:
        Deployment: cannot find the wellknown statuses for resource with gvk apps/v1beta1, Kind=Deployment
        ");
    }

    fn text(value: &FieldValue) -> String {
        match value {
            FieldValue::Integer { integer } => integer.to_string(),
            FieldValue::String { string } => string.clone(),
            FieldValue::Boolean { boolean } => boolean.to_string(),
            FieldValue::JsonRaw { json_raw } => json_raw.clone(),
        }
    }

    #[test]
    fn a_megabyte_is_read_whole_one_byte_more_is_refused() {
        const LIMIT: usize = 1024 * 1024;
        let items: Vec<Value> = (0..LIMIT / 2 - 1).map(|_| json!(1)).collect();
        let raw = |items: &[Value], path: &str| {
            let object = json!({"apiVersion": "v1", "kind": "X", "items": items});
            read(
                &object,
                &rules(json!([{"type": "JSONPaths", "jsonPaths": [{"name": "v", "path": path}]}])),
                LIMIT,
            )
        };
        for path in [".items", ".items[*]", "..items"] {
            let (values, errors) = raw(&items, path);
            assert_eq!(errors, Vec::<String>::new());
            assert_eq!(text(&values[0].field_value).len(), LIMIT - 1);
        }
        let more: Vec<Value> = items.iter().cloned().chain([json!(22)]).collect();
        assert_eq!(
            raw(&more, ".items[*]").1,
            ["value v is 1048578 bytes of JSON or more, the limit is 1048576"]
        );
    }

    #[test]
    fn what_recursion_finds_over_and_over_is_not_written_out() {
        let mut deep = json!("x".repeat(1024 * 1024));
        for _ in 0..100 {
            deep = json!({"a": deep});
        }
        let deep = json!({"apiVersion": "v1", "kind": "X", "a": deep});
        let asked =
            rules(json!([{"type": "JSONPaths", "jsonPaths": [{"name": "v", "path": "..a"}]}]));
        let (values, errors) = read(&deep, &asked, 2 * 1024 * 1024);
        assert_eq!((values.len(), errors.len()), (0, 1), "{errors:?}");
    }
}
