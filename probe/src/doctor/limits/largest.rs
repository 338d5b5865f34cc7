//! The objects of a text by their size; pure. Names and sizes only, never what is in them.

use serde_json::Value;

/// Objects, the largest first: JSON of a bundle, of a list, of one object or several; or documents of YAML.
pub(super) fn objects(text: &str) -> Vec<(String, usize)> {
    let mut found = match serde_json::from_str::<Value>(text) {
        Ok(value) => of_json(&value),
        Err(_) => of_yaml(text),
    };
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found
}

/// Whether a text is JSON, or documents of YAML, with objects in it.
pub(super) fn is_readable(text: &str) -> bool {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return value.is_object() || value.is_array();
    }
    let mut documents = text
        .split("\n---")
        .map(|document| document.trim_start_matches("---"));
    documents.all(|document| {
        let parsed = serde_saphyr::from_str::<Value>(document);
        parsed.is_ok_and(|value| value.is_object() || value.is_null())
    })
}

fn of_json(value: &Value) -> Vec<(String, usize)> {
    for inside in ["manifests", "items", "data", "spec", "workload", "payload"] {
        match &value[inside] {
            Value::Array(all) => return all.iter().map(named).collect(),
            Value::Object(_) if value["kind"].is_null() || value["kind"] == "ManifestWork" => {
                let found = of_json(&value[inside]);
                if !found.is_empty() {
                    return found;
                }
            }
            _ => {}
        }
    }
    match value {
        Value::Array(all) => all.iter().map(named).collect(),
        Value::Object(_) if !value["kind"].is_null() => vec![named(value)],
        _ => Vec::new(),
    }
}

fn named(value: &Value) -> (String, usize) {
    // A manifest of a bundle is the object itself, or wrapped.
    let object = match value["manifest"].is_object() {
        true => &value["manifest"],
        false => value,
    };
    let metadata = &object["metadata"];
    let name = title(
        object["kind"].as_str(),
        metadata["namespace"].as_str(),
        metadata["name"].as_str(),
    );
    (name, value.to_string().len())
}

// A look at the lines is enough for names.
fn of_yaml(text: &str) -> Vec<(String, usize)> {
    let documents = text.split("\n---");
    documents
        .filter_map(|document| {
            let first = |key: &str| {
                document
                    .lines()
                    .find_map(|line| line.trim_start().strip_prefix(key))
                    .map(|value| value.trim().trim_matches(['"', '\'']))
            };
            let kind = first("kind:")?;
            let name = title(Some(kind), first("namespace:"), first("name:"));
            Some((name, document.len()))
        })
        .collect()
}

fn title(kind: Option<&str>, namespace: Option<&str>, name: Option<&str>) -> String {
    let kind = kind.unwrap_or("object");
    let name = name.unwrap_or("without a name");
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_yaml_are_told_by_kind_and_name() {
        let text = "kind: Secret\nmetadata:\n  name: a\n  namespace: b\n---\nkind: Namespace\nmetadata: {}\n";
        let found = objects(text);
        assert_eq!(found[0].0, "Secret b/a");
        assert_eq!(found[1].0, "Namespace without a name");
    }

    #[test]
    fn a_list_and_a_work_are_looked_into() {
        let list = r#"{"kind":"List","items":[{"kind":"A","metadata":{"name":"x"}}]}"#;
        assert_eq!(objects(list)[0].0, "A x");
        let work = r#"{"kind":"ManifestWork","spec":{"workload":{"manifests":[{"kind":"B"}]}}}"#;
        assert_eq!(objects(work)[0].0, "B without a name");
    }
}
