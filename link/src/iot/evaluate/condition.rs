//! The `Condition` block of a statement.

use std::net::IpAddr;

use super::Request;
use crate::iot::policy::{Action, Condition};
use crate::iot::wildcard::Pattern;

/// Whether the conditions of a statement hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Unmet { operator: String, key: String },
    Unknown { operator: String, key: String },
}

/// All operators and keys must hold; one that is certainly unmet decides before one that is unknown.
pub(super) fn check(condition: &Condition, request: &Request<'_>) -> Verdict {
    let mut unknown = None;
    for (operator, keys) in condition {
        for (key, wanted) in keys {
            let (operator, key) = (operator.clone(), key.clone());
            match check_one(&operator, &key, wanted, request) {
                Some(true) => {}
                Some(false) => return Verdict::Unmet { operator, key },
                None => unknown = Some(Verdict::Unknown { operator, key }),
            }
        }
    }
    unknown.unwrap_or(Verdict::Met)
}

/// Whether the operator is evaluated here.
pub(crate) fn is_known_operator(operator: &str) -> bool {
    Operator::parse(operator).is_some()
}

/// Whether the condition key is evaluated here.
pub(crate) fn is_known_key(key: &str) -> bool {
    matches!(
        key,
        "iot:ClientId"
            | "iot:CertificateId"
            | "iot:ConnectAttributes"
            | "aws:SourceIp"
            | "iot:Connection.Thing.ThingName"
            | "iot:Connection.Thing.ThingTypeName"
            | "iot:Connection.Thing.IsAttached"
    ) || key.starts_with("iot:Certificate.")
        || (key.starts_with("iot:Connection.Thing.Attributes[") && key.ends_with(']'))
}

#[derive(Clone, Copy)]
struct Operator {
    quantifier: Quantifier,
    test: Test,
    negated: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Quantifier {
    None,
    ForAll,
    ForAny,
}

#[derive(Clone, Copy)]
enum Test {
    Equals,
    Like,
    Bool,
    Ip,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (quantifier, base) = match name.split_once(':') {
            None => (Quantifier::None, name),
            Some(("ForAllValues", base)) => (Quantifier::ForAll, base),
            Some(("ForAnyValue", base)) => (Quantifier::ForAny, base),
            Some(_) => return None,
        };
        let (test, negated) = match base {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "Bool" => (Test::Bool, false),
            "IpAddress" => (Test::Ip, false),
            "NotIpAddress" => (Test::Ip, true),
            _ => return None,
        };
        Some(Self {
            quantifier,
            test,
            negated,
        })
    }
}

// `None`: this evaluator cannot tell.
fn check_one(operator: &str, key: &str, wanted: &[String], request: &Request<'_>) -> Option<bool> {
    let operator = Operator::parse(operator)?;
    if !is_known_key(key) {
        return None;
    }
    let mut patterns = Vec::with_capacity(wanted.len());
    for text in wanted {
        match Pattern::resolve(text, request.context) {
            Ok(pattern) => patterns.push((text.as_str(), pattern)),
            // A variable without a value: the statement does not match, whatever its effect.
            Err(_) => return Some(false),
        }
    }
    let values = values(key, request);
    let mut results = Vec::with_capacity(values.len());
    for value in &values {
        let hit = any_hit(operator.test, value, &patterns, request)?;
        results.push(hit != operator.negated);
    }
    Some(match operator.quantifier {
        Quantifier::ForAll => results.into_iter().all(|held| held),
        Quantifier::ForAny => results.into_iter().any(|held| held),
        // A key without a value satisfies only the negated operators.
        Quantifier::None if results.is_empty() => operator.negated,
        Quantifier::None => results.into_iter().all(|held| held),
    })
}

fn any_hit(
    test: Test,
    value: &str,
    patterns: &[(&str, Pattern)],
    request: &Request<'_>,
) -> Option<bool> {
    let mut hit = false;
    for (text, pattern) in patterns {
        hit |= match test {
            Test::Like => pattern.matches(value),
            Test::Equals => resolved(text, request) == value,
            Test::Bool => resolved(text, request).eq_ignore_ascii_case(value),
            Test::Ip => in_network(value.parse().ok()?, &resolved(text, request))?,
        };
    }
    Some(hit)
}

// The text with its variables filled in and `*`, `?` left as they are: StringEquals knows no wildcards.
fn resolved(text: &str, request: &Request<'_>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else {
            break;
        };
        filled.push_str(before);
        match name {
            "*" | "?" | "$" => filled.push_str(name),
            _ => filled.push_str(&request.context.variable(name).unwrap_or_default()),
        }
        rest = tail;
    }
    filled.push_str(rest);
    filled
}

fn values(key: &str, request: &Request<'_>) -> Vec<String> {
    if key != "iot:ConnectAttributes" {
        return request.context.variable(key).into_iter().collect();
    }
    if request.action != Action::Connect {
        return Vec::new();
    }
    let connect = request.context.connect;
    let present = [
        (connect.persistent, "PersistentConnect"),
        (connect.last_will, "LastWill"),
    ];
    present
        .into_iter()
        .filter(|(asked, _)| *asked)
        .map(|(_, name)| name.to_owned())
        .collect()
}

// `10.0.0.0/8`, `2001:db8::/32` or a single address; `None` when it is none of these.
fn in_network(address: IpAddr, network: &str) -> Option<bool> {
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base, Some(length.parse::<u32>().ok()?)),
        None => (network, None),
    };
    let (address, base, width) = match (address, base.parse().ok()?) {
        (IpAddr::V4(address), IpAddr::V4(base)) => (
            u128::from(address.to_bits()),
            u128::from(base.to_bits()),
            32,
        ),
        (IpAddr::V6(address), IpAddr::V6(base)) => (address.to_bits(), base.to_bits(), 128),
        _ => return length.is_none_or(|length| length <= 128).then_some(false),
    };
    let length = length.unwrap_or(width);
    let ignored = width.checked_sub(length)?;
    // A shift by the full width leaves nothing to compare: everything is inside `0.0.0.0/0`.
    let prefix = |bits: u128| bits.checked_shr(ignored).unwrap_or(0);
    Some(prefix(address) == prefix(base))
}
