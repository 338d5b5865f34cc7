//! The names of condition operators.

use super::Kind;

/// A condition operator, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Operator {
    pub(super) quantifier: Quantifier,
    pub(super) test: Test,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
}

/// How many of a key's values must pass.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Quantifier {
    /// The key has one.
    None,
    ForAll,
    ForAny,
}

/// How a value is compared.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Bool,
    Ip,
    Null,
}

// === impl Operator ===

impl Operator {
    /// `None` for what is not evaluated here: operators on numbers, dates, binary values and resource names, for which
    /// AWS IoT documents no key that a connection of ours has.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (quantifier, base) = match name.split_once(':') {
            None => (Quantifier::None, name),
            Some(("ForAllValues", base)) => (Quantifier::ForAll, base),
            Some(("ForAnyValue", base)) => (Quantifier::ForAny, base),
            Some(_) => return None,
        };
        let (base, if_exists) = match base.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (base, false),
        };
        let (test, negated) = match base {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "Bool" => (Test::Bool, false),
            "IpAddress" => (Test::Ip, false),
            "NotIpAddress" => (Test::Ip, true),
            // IAM documents no `NullIfExists`.
            "Null" if !if_exists => (Test::Null, false),
            _ => return None,
        };
        Some(Self {
            quantifier,
            test,
            negated,
            if_exists,
        })
    }

    /// Whether AWS documents the operator for such a key: a set operator for a list and never without one, `Bool` and
    /// addresses each for their own.
    pub(super) fn suits(self, kind: Kind) -> bool {
        let plain = self.quantifier == Quantifier::None;
        match self.test {
            Test::Equals | Test::EqualsIgnoreCase | Test::Like => match kind {
                Kind::Text => true,
                Kind::List => !plain,
                Kind::Flag | Kind::Address => false,
            },
            Test::Bool => plain && kind == Kind::Flag,
            Test::Ip => plain && kind == Kind::Address,
            Test::Null => plain,
        }
    }

    /// Whether an empty list of values is documented for it ("connect using default features" only).
    pub(super) fn takes_nothing(self) -> bool {
        self.quantifier == Quantifier::ForAll && self.test == Test::Equals && !self.negated
    }
}
