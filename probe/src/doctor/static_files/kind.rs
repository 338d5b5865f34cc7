//! What a file is, told by its keys; pure.

use region_file::Region;
use serde_json::{Map, Value};

use super::values::Chart;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `region.yaml`.
    Region,
    /// Values of a chart.
    Values(Chart),
    /// An IoT policy document, alone or as `aws iot get-policy` prints it.
    Policy,
    /// `config.yaml` of an agent or a bridge.
    Config,
}

/// What a file may be by its keys at the top: the kinds that know most of them. None where no key is known.
pub(super) fn candidates(root: &Value) -> Vec<Kind> {
    let Some(root) = root.as_object() else {
        return Vec::new();
    };
    let has = |key: &str| root.contains_key(key);
    if has("Statement") || has("policyDocument") {
        return vec![Kind::Policy];
    }
    if has("brokerHost") {
        return vec![Kind::Config];
    }
    let agent = Kind::Values(Chart::Agent);
    let bridge = Kind::Values(Chart::Bridge);
    let known = [
        (agent, known(root, &Chart::Agent.schema())),
        (bridge, known(root, &Chart::Bridge.schema())),
        (Kind::Region, known(root, &Region::schema())),
    ];
    let most = known.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let best = known.iter().filter(|(_, count)| most > 0 && *count == most);
    best.map(|(kind, _)| *kind).collect()
}

fn known(root: &Map<String, Value>, schema: &Value) -> usize {
    let known = &schema["properties"];
    root.keys()
        .filter(|key| known.get(key.as_str()).is_some())
        .count()
}
