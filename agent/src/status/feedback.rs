//! Values read back from objects: well-known ones per kind, and JSONPaths in kubectl's dialect (wire.md §6.9).

use link::bundle::manifest::ObjectRef;
use link::bundle::{FeedbackRule, FeedbackValue, FieldValue, JsonPath, go_json};
use serde_json::Value;
use serde_json_path::JsonPath as Path;

mod dialect;

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
        let paths = if rule.kind == "WellKnownStatus" {
            match well_known(&coordinates) {
                Some(paths) => paths,
                None => {
                    errors.push(format!(
                        "cannot find the wellknown statuses for resource with gvk {}/{}, Kind={}",
                        coordinates.group, coordinates.version, coordinates.kind
                    ));
                    continue;
                }
            }
        } else {
            rule.json_paths.clone()
        };
        for path in paths {
            match value(object, &coordinates, &path, max_raw_bytes) {
                Ok(Some(value)) => values.push(FeedbackValue {
                    name: path.name,
                    field_value: value,
                }),
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    (values, errors)
}

fn value(
    object: &Value,
    coordinates: &ObjectRef,
    rule: &JsonPath,
    max_raw_bytes: usize,
) -> Result<Option<FieldValue>, String> {
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
    let query = dialect::translate(path)
        .map_err(|problem| format!("path `{path}` of value {name} {problem}"))?;
    let query = Path::parse(&query)
        .map_err(|error| format!("path `{path}` of value {name} is not a JSONPath: {error}"))?;
    let found = query.query(object).all();
    let raw = |value: &Value| {
        let json_raw = go_json::to_string(value).map_err(|error| error.to_string())?;
        if json_raw.len() > max_raw_bytes {
            return Err(format!(
                "value {name} is {} bytes of JSON, more than the limit of {max_raw_bytes}",
                json_raw.len()
            ));
        }
        Ok(Some(FieldValue::JsonRaw { json_raw }))
    };
    match found.as_slice() {
        [] | [Value::Null] => Ok(None),
        [Value::String(text)] => Ok(Some(FieldValue::String {
            string: text.clone(),
        })),
        [Value::Bool(boolean)] => Ok(Some(FieldValue::Boolean { boolean: *boolean })),
        [Value::Number(number)] if number.is_i64() => Ok(number
            .as_i64()
            .map(|integer| FieldValue::Integer { integer })),
        [one] => raw(one),
        many => raw(&Value::Array(many.iter().copied().cloned().collect())),
    }
}

fn well_known(object: &ObjectRef) -> Option<Vec<JsonPath>> {
    let paths: &[(&str, &str)] = match (
        object.group.as_str(),
        object.version.as_str(),
        object.kind.as_str(),
    ) {
        ("apps", "v1", "Deployment") => &[
            ("ReadyReplicas", ".status.readyReplicas"),
            ("Replicas", ".status.replicas"),
            ("AvailableReplicas", ".status.availableReplicas"),
        ],
        ("apps", "v1", "DaemonSet") => &[
            ("NumberReady", ".status.numberReady"),
            ("DesiredNumberScheduled", ".status.desiredNumberScheduled"),
            ("NumberAvailable", ".status.numberAvailable"),
        ],
        ("batch", "v1", "Job") => &[
            (
                "JobComplete",
                r#".status.conditions[?(@.type=="Complete")].status"#,
            ),
            ("JobSucceeded", ".status.succeeded"),
        ],
        ("", "v1", "Pod") => &[
            (
                "PodReady",
                r#".status.conditions[?(@.type=="Ready")].status"#,
            ),
            ("PodPhase", ".status.phase"),
        ],
        _ => return None,
    };
    Some(
        paths
            .iter()
            .map(|(name, path)| JsonPath {
                name: (*name).into(),
                version: String::new(),
                path: (*path).into(),
            })
            .collect(),
    )
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
            "value raw is 19 bytes of JSON, more than the limit of 10"
        );
    }
}
