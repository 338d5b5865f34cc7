//! Whether IAM documents allow an action: explicit deny first, then any allow. No I/O.
//!
//! A condition is taken to fail for an allow and to hold for a deny: nothing here depends on one, and what would is
//! better noticed.

use link::iot::wildcard::matches;
use serde_json::Value;

/// Whether the identity-based documents together allow the action on the resource.
pub(super) fn allow(documents: &[Value], action: &str, resource: &str) -> bool {
    let applies = |statement: &Value| {
        any(&statement["Action"], |one| {
            matches(&one.to_lowercase(), &action.to_lowercase())
        }) && any(&statement["Resource"], |one| matches(one, resource))
    };
    decide(documents, applies)
}

/// Whether a trust document lets a service do this.
pub(super) fn trusts(document: &Value, action: &str, service: &str) -> bool {
    let applies = |statement: &Value| {
        any(&statement["Action"], |one| {
            matches(&one.to_lowercase(), &action.to_lowercase())
        }) && any(&statement["Principal"]["Service"], |one| one == service)
    };
    decide(std::slice::from_ref(document), applies)
}

/// A document as IAM answers it: an object, JSON, or percent-encoded JSON.
pub(super) fn document(answer: &Value) -> Value {
    let Some(text) = answer.as_str() else {
        return answer.clone();
    };
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&decoded(text)))
        .unwrap_or_default()
}

fn decide(documents: &[Value], applies: impl Fn(&Value) -> bool) -> bool {
    let mut allowed = false;
    for statement in documents
        .iter()
        .flat_map(|document| list(&document["Statement"]))
    {
        let conditional = statement.get("Condition").is_some();
        match statement["Effect"].as_str() {
            Some("Deny") if applies(statement) => return false,
            Some("Allow") if !conditional && applies(statement) => allowed = true,
            _ => {}
        }
    }
    allowed
}

fn any(value: &Value, fits: impl Fn(&str) -> bool) -> bool {
    list(value).filter_map(Value::as_str).any(fits)
}

/// One thing may stand where a list of one is meant.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    let many = value.as_array().map(Vec::as_slice);
    many.unwrap_or(std::slice::from_ref(value)).iter()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%');
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deny_wins_and_a_condition_counts_against() {
        let may = json!({ "Statement": { "Effect": "Allow", "Action": "s:Get*", "Resource": ["arn:a-??"] } });
        let deny =
            json!({ "Statement": [{ "Effect": "Deny", "Action": "*", "Resource": "arn:a-xy" }] });
        let conditional = json!({ "Statement": [
            { "Effect": "Allow", "Action": "s:Get", "Resource": "*", "Condition": {} },
        ] });
        assert!(allow(std::slice::from_ref(&may), "s:GetValue", "arn:a-xy"));
        assert!(!allow(
            std::slice::from_ref(&may),
            "s:GetValue",
            "arn:a-xyz"
        ));
        assert!(!allow(&[may, deny], "s:GetValue", "arn:a-xy"));
        assert!(!allow(&[conditional], "s:Get", "arn:a-xy"));
    }

    #[test]
    fn encoded_documents_are_read() {
        let answer = json!("%7B%22a%22%3A%20%22b+c%22%7D");
        assert_eq!(document(&answer), json!({ "a": "b+c" }));
    }
}
