//! The `Condition` block of a statement.
//!
//! Operators mean what the IAM user guide says ("IAM JSON policy elements: Condition operators"), keys what the AWS IoT
//! developer guide says. An operator on a key that neither documents together, a key without a value where its absence
//! would count as met, and a value that the operator does not take are unknown.

use std::net::IpAddr;

use super::Request;
use super::resource::StatementScope;
use super::unknown::{Construct, Truth};
use crate::iot::context::{UnknownReason, VariableValue};
use crate::iot::policy::{Effect, PolicyAction, PolicyCondition};

use self::operator::{Operator, Quantifier, Test};

mod network;
mod operator;

/// Whether the conditions of a statement hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConditionResult {
    Met,
    Unmet { operator: String, key: String },
    Unknown(Construct),
}

/// All operators and keys must hold; one that is certainly unmet decides before one that is unknown.
pub(super) fn check(
    condition: &PolicyCondition,
    request: &Request<'_>,
    scope: StatementScope<'_>,
) -> ConditionResult {
    let mut unknown = None;
    for (operator, keys) in condition {
        if keys.is_empty() {
            let operator = operator.clone();
            unknown.get_or_insert(Construct::Operator { operator });
        }
        for (key, wanted) in keys {
            let block = Block {
                operator,
                key,
                wanted,
                scope,
            };
            match block.holds(request) {
                Truth::Yes => {}
                Truth::No => {
                    let (operator, key) = (operator.clone(), key.clone());
                    return ConditionResult::Unmet { operator, key };
                }
                Truth::Unknown(construct) => {
                    unknown.get_or_insert(construct);
                }
            }
        }
    }
    unknown.map_or(ConditionResult::Met, ConditionResult::Unknown)
}

/// Whether the operator is evaluated here.
pub(crate) fn is_known_operator(operator: &str) -> bool {
    Operator::parse(operator).is_some()
}

/// Whether the condition key is evaluated here.
pub(crate) fn is_known_key(key: &str) -> bool {
    Kind::of(key).is_some()
}

/// What a key holds.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Flag,
    Address,
    List,
}

// One operator with one key.
#[derive(Clone, Copy)]
struct Block<'a> {
    operator: &'a str,
    key: &'a str,
    wanted: &'a [String],
    scope: StatementScope<'a>,
}

// === impl Kind ===

impl Kind {
    fn of(key: &str) -> Option<Self> {
        match key {
            "iot:ConnectAttributes" => return Some(Self::List),
            "iot:Connection.Thing.IsAttached" => return Some(Self::Flag),
            "aws:SourceIp" => return Some(Self::Address),
            "iot:ClientId"
            | "iot:CertificateId"
            | "iot:Connection.Thing.ThingName"
            | "iot:Connection.Thing.ThingTypeName" => return Some(Self::Text),
            _ => {}
        }
        if key.starts_with("iot:Connection.Thing.Attributes[") && key.ends_with(']') {
            return Some(Self::Text);
        }
        let name = key.strip_prefix("iot:Certificate.")?;
        // The one list of names, not of values; AWS gives no example of it.
        if name == "AvailableKeys" {
            return None;
        }
        Some(if name.ends_with(".List") {
            Self::List
        } else {
            Self::Text
        })
    }
}

// === impl Block ===

impl Block<'_> {
    fn holds(&self, request: &Request<'_>) -> Truth {
        let Some(operator) = Operator::parse(self.operator) else {
            let operator = self.operator.to_owned();
            return Truth::Unknown(Construct::Operator { operator });
        };
        let Some(kind) = Kind::of(self.key) else {
            return self.unknown_key(UnknownReason::Unlisted);
        };
        if !operator.suits(kind) {
            let (operator, key) = (self.operator.to_owned(), self.key.to_owned());
            return Truth::Unknown(Construct::Combination { operator, key });
        }
        let values = match self.value(request) {
            VariableValue::One(value) => vec![value],
            VariableValue::Many(values) => values,
            VariableValue::Absent => return self.without_value(operator),
            VariableValue::Unknown(reason) => return self.unknown_key(reason),
        };
        if self.wanted.is_empty() && !operator.takes_nothing() {
            return self.unknown_value("");
        }
        let outcomes = values.iter().map(|value| {
            let hit = Truth::any(
                self.wanted
                    .iter()
                    .map(|text| self.hit(operator, text, value)),
            );
            if operator.negated { hit.negated() } else { hit }
        });
        match operator.quantifier {
            Quantifier::ForAny => Truth::any(outcomes),
            Quantifier::ForAll | Quantifier::None => Truth::all(outcomes),
        }
    }

    fn value(&self, request: &Request<'_>) -> VariableValue {
        if self.key != "iot:ConnectAttributes" {
            return request.context.value(self.key);
        }
        if request.action != PolicyAction::Connect {
            return VariableValue::Unknown(UnknownReason::Absent);
        }
        let connect = request.context.connect;
        let present = [
            (connect.persistent, "PersistentConnect"),
            (connect.last_will, "LastWill"),
        ];
        let asked = present.into_iter().filter(|(asked, _)| *asked);
        VariableValue::Many(asked.map(|(_, name)| name.to_owned()).collect())
    }

    // IAM documents: a plain operator is not met. Where its absence would count as met, and for a certificate's index
    // that does not exist ("authorization fails") under a deny, it is not certain enough.
    fn without_value(&self, operator: Operator) -> Truth {
        let plain = operator.quantifier == Quantifier::None
            && !operator.negated
            && !operator.if_exists
            && operator.test != Test::Null;
        let refuses = self.scope.effect == Effect::Deny && self.key.starts_with("iot:Certificate.");
        if plain && !refuses {
            return Truth::No;
        }
        self.unknown_key(UnknownReason::Absent)
    }

    // Whether the key's value is what the text says.
    fn hit(&self, operator: Operator, text: &str, value: &str) -> Truth {
        match operator.test {
            Test::Like | Test::Equals | Test::EqualsIgnoreCase => {
                self.text_hit(operator, text, value)
            }
            Test::Bool => match text {
                "true" | "false" => Truth::of(text == value),
                _ => self.unknown_value(text),
            },
            Test::Ip => value
                .parse::<IpAddr>()
                .ok()
                .and_then(|address| network::contains(text, address))
                .map_or_else(|| self.unknown_value(text), Truth::of),
            // The key has a value, else this is not called.
            Test::Null => match text {
                "true" => Truth::No,
                "false" => Truth::Yes,
                _ => self.unknown_value(text),
            },
        }
    }

    fn text_hit(&self, operator: Operator, text: &str, value: &str) -> Truth {
        let written = self.scope.pattern(text);
        if let Some(variable) = written.unresolved().first() {
            // A statement with such a variable may be invalid as a whole: then not even "is not" holds.
            let could = self.scope.fits(&written, text, value);
            let decided = could == Truth::No && !operator.negated;
            if decided {
                return Truth::No;
            }
            return Truth::Unknown(Construct::of_variable(variable));
        }
        if operator.test == Test::Like {
            return self.scope.fits(&written, text, value);
        }
        if written.is_literally(value) {
            return Truth::Yes;
        }
        let (pattern, value) = if operator.test == Test::EqualsIgnoreCase {
            // Which letters outside ASCII are the same in the other case is not documented.
            if !(text.is_ascii() && value.is_ascii()) {
                return self.unknown_value(text);
            }
            (written.to_ascii_lowercase(), value.to_ascii_lowercase())
        } else {
            (written, value.to_owned())
        };
        if pattern.is_literally(&value) {
            return Truth::Yes;
        }
        match self.scope.fits(&pattern, text, &value) {
            Truth::No => Truth::No,
            // Documented as an exact match; whether a wildcard works all the same is not worth a guess.
            Truth::Yes | Truth::Unknown(_) => self.unknown_value(text),
        }
    }

    fn unknown_key(&self, reason: UnknownReason) -> Truth {
        let key = self.key.to_owned();
        Truth::Unknown(Construct::Key { key, reason })
    }

    fn unknown_value(&self, value: &str) -> Truth {
        Truth::Unknown(Construct::ConditionValue {
            operator: self.operator.to_owned(),
            value: value.to_owned(),
        })
    }
}
