//! Values of our charts, laid over those of the chart as Helm does it, and held against the chart's schema; pure.

use region_file::Tree;
use serde_json::Value;

use super::misfit::Misfit;
use super::schema;

/// One of our charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chart {
    /// `deploy/charts/agent`.
    Agent,
    /// `deploy/charts/server-bridge`.
    Bridge,
}

/// Values of a chart, complete.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// Whose.
    pub(super) chart: Chart,
    /// With the chart's own where the file says nothing.
    pub(super) all: Value,
}

// === impl Chart ===

impl Chart {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Bridge => "server-bridge",
        }
    }

    /// Its `values.schema.json`.
    pub(super) fn schema(self) -> Value {
        let text = match self {
            Self::Agent => AGENT_SCHEMA,
            Self::Bridge => BRIDGE_SCHEMA,
        };
        serde_json::from_str(text).unwrap_or_default()
    }

    fn defaults(self) -> Value {
        let text = match self {
            Self::Agent => AGENT_VALUES,
            Self::Bridge => BRIDGE_VALUES,
        };
        Tree::parse(text).map(|tree| tree.root).unwrap_or_default()
    }
}

// === impl Values ===

impl Values {
    /// Completes what a file says, and tells what the chart would refuse, in the order of the lines.
    pub(super) fn complete(chart: Chart, tree: &Tree) -> (Self, Vec<Misfit>) {
        let all = laid_over(&chart.defaults(), &tree.root);
        let mut misfits = schema::check(&all, &chart.schema());
        for misfit in &mut misfits {
            misfit.line = tree.line(&misfit.field);
        }
        misfits.sort_by_key(|misfit| misfit.line);
        (Self { chart, all }, misfits)
    }

    /// The text at a path of keys; a number is one too, as templates write it.
    pub(super) fn text(&self, path: &[&str]) -> Option<String> {
        let value = path
            .iter()
            .try_fold(&self.all, |value, key| value.get(key))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

// `null` takes a value of the chart away; lists are replaced as a whole.
fn laid_over(default: &Value, given: &Value) -> Value {
    let (Value::Object(default), Value::Object(given)) = (default, given) else {
        return given.clone();
    };
    let mut all = default.clone();
    for (key, value) in given {
        let value = match default.get(key) {
            Some(default) => laid_over(default, value),
            None => value.clone(),
        };
        all.insert(key.clone(), value);
    }
    all.retain(|key, value| !value.is_null() || !default.contains_key(key));
    Value::Object(all)
}

const AGENT_SCHEMA: &str = include_str!("../../../../deploy/charts/agent/values.schema.json");
const AGENT_VALUES: &str = include_str!("../../../../deploy/charts/agent/values.yaml");
const BRIDGE_SCHEMA: &str =
    include_str!("../../../../deploy/charts/server-bridge/values.schema.json");
const BRIDGE_VALUES: &str = include_str!("../../../../deploy/charts/server-bridge/values.yaml");
