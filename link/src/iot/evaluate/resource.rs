//! Whether a resource pattern of a statement covers a resource name.
//!
//! AWS documents wildcards inside each part between colons, variables in the last part only, and that missing parts of
//! a name count as `*`. How IoT Core itself compares is not documented: where comparing part by part and comparing the
//! whole text differ, the answer is unknown.

use std::collections::BTreeMap;

use super::super::context::{Context, UnknownReason};
use super::super::policy::{Effect, PolicyVersion, Statement};
use super::super::wildcard::{PatternMatch, PolicyPattern};
use super::unknown::{Construct, Truth};

/// What a statement's patterns are read under.
#[derive(Clone, Copy)]
pub(super) struct StatementScope<'a> {
    pub(super) context: &'a Context,
    pub(super) effect: Effect,
    pub(super) version: PolicyVersion,
}

// === impl StatementScope ===

impl StatementScope<'_> {
    pub(super) fn pattern(&self, text: &str) -> PolicyPattern {
        match self.version {
            PolicyVersion::V2012 => PolicyPattern::resolve(text, self.context),
            PolicyVersion::V2008 => PolicyPattern::literal_variables(text),
        }
    }

    /// Whether `value` fits `pattern`, which was written as `text`.
    ///
    /// A variable without a value is documented to make authorization fail: an allow does not apply. Whether a deny
    /// applies is not said.
    pub(super) fn fits(&self, pattern: &PolicyPattern, text: &str, value: &str) -> Truth {
        match pattern.fit(value) {
            PatternMatch::Yes => Truth::Yes,
            PatternMatch::No => Truth::No,
            PatternMatch::Unclear(_) if self.effect == Effect::Allow && lacks_value(pattern) => {
                Truth::No
            }
            PatternMatch::Unclear(variable) => Truth::Unknown(Construct::of_variable(variable)),
            PatternMatch::Character => Truth::Unknown(Construct::Character {
                pattern: text.to_owned(),
            }),
        }
    }
}

/// Whether `pattern` covers the resource name `arn`.
pub(super) fn covers(pattern: &str, scope: StatementScope<'_>, arn: &str) -> Truth {
    if pattern == "*" {
        return Truth::Yes;
    }
    // Most patterns of ours are exact names, and every delivered message asks.
    if !pattern.contains(['*', '?', '$']) && pattern.matches(':').count() >= PARTS - 1 {
        return Truth::of(pattern == arn);
    }
    let parts = parts(pattern, scope.version);
    let whole = scope.fits(&scope.pattern(pattern), pattern, arn);
    let by_part = Truth::all(
        parts
            .iter()
            .zip(arn.splitn(PARTS, ':'))
            .map(|(part, value)| scope.fits(&scope.pattern(part), part, value)),
    );
    let odd = parts.len() < PARTS
        || parts[0] != "arn"
        || parts[..PARTS - 1].iter().any(|part| part.contains("${"));
    match (whole, by_part) {
        (Truth::No, Truth::No) => Truth::No,
        (Truth::Yes, Truth::Yes) if !odd => Truth::Yes,
        (Truth::Unknown(construct), _) | (_, Truth::Unknown(construct)) if !odd => {
            Truth::Unknown(construct)
        }
        _ => Truth::Unknown(Construct::Resource {
            resource: pattern.to_owned(),
        }),
    }
}

/// The first variable without a known value in any resource or condition of an allowing statement: AWS documents that
/// it may make the whole statement invalid, also for its other resources.
pub(super) fn unresolved(statement: &Statement, scope: StatementScope<'_>) -> Option<Construct> {
    let conditions = statement.condition.values().flat_map(BTreeMap::values);
    statement
        .resources
        .iter()
        .chain(conditions.flatten())
        .filter(|text| text.contains('$'))
        .find_map(|text| {
            scope
                .pattern(text)
                .unresolved()
                .first()
                .map(Construct::of_variable)
        })
}

fn lacks_value(pattern: &PolicyPattern) -> bool {
    pattern
        .unresolved()
        .iter()
        .any(|variable| variable.reason == UnknownReason::Absent)
}

// At most six parts between colons; those inside a variable's braces do not count.
fn parts(pattern: &str, version: PolicyVersion) -> Vec<&str> {
    let mut parts = Vec::with_capacity(PARTS);
    let (mut begin, mut inside) = (0, false);
    for (at, byte) in pattern.bytes().enumerate() {
        match byte {
            b'{' if version == PolicyVersion::V2012 && pattern[..at].ends_with('$') => {
                inside = true
            }
            b'}' => inside = false,
            b':' if !inside && parts.len() < PARTS - 1 => {
                parts.push(&pattern[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&pattern[begin..]);
    parts
}

// `arn`, partition, service, region, account, resource.
const PARTS: usize = 6;
