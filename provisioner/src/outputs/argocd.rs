//! The charts' values for Argo CD: as parameters, or as the part of an Application that says them.

use serde::Serialize;
use serde_json::Value;

use super::helm;

/// One of `spec.source.helm.parameters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Dotted key.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether Helm must take it as a text: `123` or `true` would become something else.
    pub force_string: bool,
}

/// What goes under an Application's `spec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Application {
    source: Source,
    destination: Destination,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Source {
    helm: Helm,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Helm {
    release_name: String,
    values_object: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Destination {
    namespace: String,
}

/// The values of [`helm::Server`] or [`helm::Agent`] as parameters, by name.
pub fn parameters(values: &impl Serialize) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    flatten("", &helm::tree(values), &mut parameters);
    parameters
}

/// The values as the part of an Application's `spec` that says them.
pub fn application(release: &str, namespace: &str, values: &impl Serialize) -> Application {
    Application {
        source: Source {
            helm: Helm {
                release_name: release.to_owned(),
                values_object: helm::tree(values),
            },
        },
        destination: Destination {
            namespace: namespace.to_owned(),
        },
    }
}

fn flatten(at: &str, value: &Value, parameters: &mut Vec<Parameter>) {
    match value {
        Value::Object(pairs) => {
            for (key, value) in pairs {
                let name = if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at}.{key}")
                };
                flatten(&name, value, parameters);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{at}[{index}]"), item, parameters);
            }
        }
        Value::String(text) => parameters.push(Parameter {
            name: at.to_owned(),
            value: text.clone(),
            force_string: true,
        }),
        other => parameters.push(Parameter {
            name: at.to_owned(),
            value: other.to_string(),
            force_string: false,
        }),
    }
}
