//! What connections lose when one document takes the place of another.
//!
//! Every resource the old document names stands for one request: a wildcard for some name, a variable for the
//! client's own id. What the old document allows of these and the new one does not is reported; it is a sample, not a
//! proof that nothing else is lost.

use std::borrow::Cow;

use link::iot::evaluate::{Request, Resource, evaluate};
use link::iot::{ArnPrefix, Context, Decision, Document, Effect, PolicyAction, Thing};
use serde_json::Value;

use crate::resource::Change;

/// What it means to put `new` in the place of the live document `have`.
pub(super) fn change(have: &Value, new: &Document) -> Change {
    if have.is_null() {
        return Change::Quiet;
    }
    let text = have
        .as_str()
        .map_or_else(|| Cow::Owned(have.to_string()), Cow::Borrowed);
    let Ok(old) = Document::parse(&text) else {
        let unknown =
            "replaces a document that cannot be read here: connections may lose what it allows";
        return Change::Disrupts(unknown.to_owned());
    };
    let lost = lost(&old, new);
    if lost.is_empty() {
        return Change::Quiet;
    }
    let told: Vec<&str> = lost.iter().take(TOLD).map(String::as_str).collect();
    let more = match lost.len() - told.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Change::Disrupts(format!(
        "connections that use {}{more} are refused within minutes",
        told.join(", ")
    ))
}

// What the old document allows and the new one does not, as `iot:Publish` on `topic/…`.
fn lost(old: &Document, new: &Document) -> Vec<String> {
    let (old_all, new_all) = ([old.clone()], [new.clone()]);
    let allowing = old
        .statements
        .iter()
        .filter(|statement| statement.effect == Effect::Allow);
    let mut lost = Vec::new();
    for statement in allowing {
        let actions = PolicyAction::ALL
            .into_iter()
            .filter(|it| statement.covers(*it));
        for action in actions {
            for pattern in statement.resources.iter().take(SAMPLES) {
                let Some((prefix, sample)) = sample(action, pattern, new) else {
                    continue;
                };
                let context = context(action, prefix, &sample);
                let request = Request {
                    action,
                    resource: Resource::of(action, &sample),
                    context: &context,
                };
                let shown = pattern.splitn(6, ':').last().unwrap_or(pattern);
                let told = format!("`{action}` on `{shown}`");
                // What is unknown here IoT Core may allow.
                let refused = matches!(evaluate(&old_all, &request), Decision::Deny { .. });
                if !refused && !evaluate(&new_all, &request).is_allowed() && !lost.contains(&told) {
                    lost.push(told);
                }
            }
        }
    }
    lost
}

// Account and name of one resource that the pattern covers; none when it is for another kind of resource.
fn sample(action: PolicyAction, pattern: &str, new: &Document) -> Option<(ArnPrefix, String)> {
    let kind = action.resource_kind();
    if pattern == "*" {
        // The account is not in it; the new document's will do.
        let prefix = new
            .statements
            .iter()
            .flat_map(|statement| &statement.resources)
            .find_map(|resource| split(resource))
            .map_or_else(ArnPrefix::default, |(prefix, _)| prefix);
        return Some((prefix, ANY.to_owned()));
    }
    let (prefix, rest) = split(pattern)?;
    let name = match rest {
        "*" => "*",
        rest => rest.strip_prefix(kind)?.strip_prefix('/')?,
    };
    Some((prefix, concrete(name)))
}

// `arn:<partition>:iot:<region>:<account>` and what follows.
fn split(pattern: &str) -> Option<(ArnPrefix, &str)> {
    let mut parts = pattern.splitn(6, ':');
    let mut next = || parts.next();
    let (_arn, partition, _iot) = (next()?, next()?, next()?);
    let (region, account, rest) = (next()?, next()?, next()?);
    let prefix = ArnPrefix {
        partition: partition.to_owned(),
        region: concrete(region),
        account: concrete(account),
    };
    Some((prefix, rest))
}

// One text that the pattern covers.
fn concrete(pattern: &str) -> String {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        text.push_str(ANY);
        rest = after.split_once('}').map_or("", |(_, behind)| behind);
    }
    text.push_str(rest);
    text.replace('*', ANY).replace('?', "0")
}

fn context(action: PolicyAction, prefix: ArnPrefix, sample: &str) -> Context {
    let id = match action {
        PolicyAction::Connect => sample,
        _ => ANY,
    };
    let mut context = Context::new(prefix, id);
    context.thing = Some(Thing {
        name: id.to_owned(),
        attached: true,
        ..Thing::default()
    });
    context
}

// Stands for whatever a wildcard or variable covers.
const ANY: &str = "any";

// A policy holds about twenty names in its 2 048 characters.
const SAMPLES: usize = 64;

// Enough to see what it is about.
const TOLD: usize = 3;

#[cfg(test)]
mod tests {
    use link::iot::Statement;
    use serde_json::json;

    use super::*;

    fn allow(action: PolicyAction, rest: &str) -> Document {
        let resource = format!("arn:aws:iot:eu-west-1:111111111111:{rest}");
        Document::new(vec![Statement::allow([action], [resource])])
    }

    #[test]
    fn widening_is_quiet() {
        let old = allow(PolicyAction::Publish, "topic/a/b");
        let new = allow(PolicyAction::Publish, "topic/a/*");
        assert_eq!(change(&json!(old), &new), Change::Quiet);
    }

    #[test]
    fn narrowing_names_what_is_lost() {
        let old = allow(PolicyAction::Connect, "client/*");
        let new = allow(PolicyAction::Connect, "client/a-work-agent-client");
        let Change::Disrupts(what) = change(&json!(old), &new) else {
            panic!("narrowing is not told");
        };
        assert_eq!(
            what,
            "connections that use `iot:Connect` on `client/*` are refused within minutes"
        );
    }

    #[test]
    fn a_star_that_stands_for_everything_is_a_sample_too() {
        let old = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;
        let old: Value = serde_json::from_str(old).unwrap();
        let new = allow(PolicyAction::Connect, "client/any");
        let Change::Disrupts(what) = change(&old, &new) else {
            panic!("narrowing is not told");
        };
        assert!(!what.contains("iot:Connect"), "{what}");
        assert!(what.contains("`iot:Publish` on `*`"), "{what}");
        assert!(what.contains("and 1 more"), "{what}");
    }

    #[test]
    fn what_may_have_been_allowed_is_told_as_lost() {
        let old = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Publish","Resource":"*",
            "Condition":{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}}}"#;
        let new = allow(PolicyAction::Connect, "client/any");
        let Change::Disrupts(what) = change(&json!(old), &new) else {
            panic!("narrowing is not told");
        };
        assert!(what.contains("`iot:Publish` on `*`"), "{what}");
    }

    #[test]
    fn what_cannot_be_read_is_told_as_a_risk() {
        let new = allow(PolicyAction::Connect, "client/a");
        assert!(matches!(change(&json!("{oops"), &new), Change::Disrupts(_)));
        assert_eq!(change(&Value::Null, &new), Change::Quiet);
    }
}
