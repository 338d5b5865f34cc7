//! From JSON to the document model, with the field path of every mistake.

use serde_json::{Map, Value};

use super::{Document, Effect, PolicyCondition, PolicyError, PolicyVersion, Statement, json};

pub(super) fn document(text: &str) -> Result<Document, PolicyError> {
    let value = json::value(text).map_err(PolicyError::Json)?;
    let map = object("the document", &value)?;
    known_keys("the document", map, &["Version", "Id", "Statement"])?;
    let version = need("the document", map, "Version")?;
    let version = match version.as_str() {
        Some("2012-10-17") => PolicyVersion::V2012,
        Some("2008-10-17") => PolicyVersion::V2008,
        _ => {
            let expected = "`2012-10-17`, the version in which variables work";
            return Err(refuse("Version", version, expected));
        }
    };
    let id = map
        .get("Id")
        .map(|value| string("Id", value))
        .transpose()?
        .map(str::to_owned);
    let statements = match need("the document", map, "Statement")? {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| statement(&format!("Statement[{index}]"), item))
            .collect::<Result<_, _>>()?,
        single => vec![statement("Statement", single)?],
    };
    Ok(Document {
        id,
        version,
        statements,
        ..Document::default()
    })
}

fn statement(at: &str, value: &Value) -> Result<Statement, PolicyError> {
    let map = object(at, value)?;
    known_keys(
        at,
        map,
        &["Sid", "Effect", "Action", "Resource", "Condition"],
    )?;
    let sid = map
        .get("Sid")
        .map(|value| string(&format!("{at}.Sid"), value))
        .transpose()?
        .map(str::to_owned);
    let effect = need(at, map, "Effect")?;
    let effect = match effect.as_str() {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => {
            return Err(refuse(&format!("{at}.Effect"), effect, "`Allow` or `Deny`"));
        }
    };
    let actions = need(at, map, "Action")?;
    let at_action = format!("{at}.Action");
    let names = strings(&at_action, actions)?;
    if let Some(name) = names
        .iter()
        .find(|name| *name != "*" && !name.starts_with("iot:"))
    {
        let name = Value::String(name.clone());
        return Err(refuse(
            &at_action,
            &name,
            "an action that begins with `iot:`",
        ));
    }
    let resources = need(at, map, "Resource")?;
    let at_resource = format!("{at}.Resource");
    let patterns = strings(&at_resource, resources)?;
    if let Some(pattern) = patterns
        .iter()
        .find(|pattern| !pattern.starts_with("arn:") && !pattern.starts_with('*'))
    {
        let pattern = Value::String(pattern.clone());
        return Err(refuse(
            &at_resource,
            &pattern,
            "a resource name that begins with `arn:`, or `*`",
        ));
    }
    let condition = map
        .get("Condition")
        .map(|value| condition(&format!("{at}.Condition"), value))
        .transpose()?
        .unwrap_or_default();
    Ok(Statement {
        sid,
        effect,
        actions: names,
        resources: patterns,
        condition,
    })
}

fn condition(at: &str, value: &Value) -> Result<PolicyCondition, PolicyError> {
    let mut condition = PolicyCondition::new();
    for (operator, keys) in object(at, value)? {
        let at = format!("{at}.{operator}");
        let block = condition.entry(operator.clone()).or_default();
        for (key, values) in object(&at, keys)? {
            block.insert(key.clone(), scalars(&format!("{at}.{key}"), values)?);
        }
    }
    Ok(condition)
}

fn object<'v>(at: &str, value: &'v Value) -> Result<&'v Map<String, Value>, PolicyError> {
    value
        .as_object()
        .ok_or_else(|| refuse(at, value, "an object"))
}

fn need<'v>(
    at: &str,
    map: &'v Map<String, Value>,
    key: &'static str,
) -> Result<&'v Value, PolicyError> {
    map.get(key).ok_or_else(|| PolicyError::Missing {
        at: at.to_owned(),
        key,
    })
}

fn known_keys(
    at: &str,
    map: &Map<String, Value>,
    known: &[&'static str],
) -> Result<(), PolicyError> {
    let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    Err(PolicyError::UnknownKey {
        at: at.to_owned(),
        key: key.clone(),
        nearest: known.iter().copied().find(|name| {
            strsim::damerau_levenshtein(&key.to_lowercase(), &name.to_lowercase()) <= 2
        }),
    })
}

fn string<'v>(at: &str, value: &'v Value) -> Result<&'v str, PolicyError> {
    value.as_str().ok_or_else(|| refuse(at, value, "a string"))
}

fn strings(at: &str, value: &Value) -> Result<Vec<String>, PolicyError> {
    match value {
        Value::String(one) => Ok(vec![one.clone()]),
        Value::Array(many) if !many.is_empty() => many
            .iter()
            .enumerate()
            .map(|(index, item)| string(&format!("{at}[{index}]"), item).map(str::to_owned))
            .collect(),
        other => Err(refuse(at, other, "a string or a list of strings")),
    }
}

// Conditions take booleans and numbers too; they compare as text.
fn scalars(at: &str, value: &Value) -> Result<Vec<String>, PolicyError> {
    let scalar = |at: &str, value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(refuse(at, other, "a string, a boolean or a number")),
    };
    match value {
        Value::Array(many) => many
            .iter()
            .enumerate()
            .map(|(index, item)| scalar(&format!("{at}[{index}]"), item))
            .collect(),
        one => Ok(vec![scalar(at, one)?]),
    }
}

fn refuse(at: &str, value: &Value, expected: &'static str) -> PolicyError {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) => {
            let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
            format!("`{shown}`")
        }
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    PolicyError::Value {
        at: at.to_owned(),
        found,
        expected,
    }
}

// A resource name of ours with a 63-character consumer is shorter than this.
const SHOWN_CHARACTERS: usize = 160;
