//! Allow statements that look as if they were meant for a denied request, and why they do not apply.
//!
//! These are the mistakes people make (docs/IOT-CORE.md §6 rows 2 to 6): `topic/` for `topicfilter/`, `+` for `*`, a
//! forgotten `$share/NAME/`, a forgotten `iot:Receive`, another client id, region or account.

use std::fmt;

use super::condition::{self, ConditionResult};
use super::resource::{self, StatementScope};
use super::unknown::Truth;
use super::{Asked, Request, Resource, StatementIndex, StatementRef, statements};
use crate::iot::filter::{self, split_share};
use crate::iot::policy::{Document, Effect, PolicyAction, Statement};

/// Why an Allow statement that nearly fits does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The statement, with the resource pattern that nearly fits.
    pub statement: StatementRef,
    /// What keeps it from applying.
    pub reason: Reason,
}

/// What keeps a statement from applying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It names the resource under another kind, such as `topic/` for a SUBSCRIBE.
    Kind {
        /// The kind it names.
        given: &'static str,
        /// The kind the action is checked against.
        needed: &'static str,
    },
    /// It has `+` or `#` where only `*` would match: MQTT wildcards are literal in a policy.
    LiteralWildcard,
    /// It names a topic that the filter covers, but the filter's own text is what is matched.
    FilterText {
        /// The filter as it was sent.
        filter: String,
    },
    /// It allows narrower filters than the one that was sent.
    Wider {
        /// The filter as it was sent.
        filter: String,
    },
    /// It names the filter without its `$share/NAME/`.
    SharePrefix {
        /// The prefix that is missing.
        prefix: String,
    },
    /// It names the resource for other actions.
    Action {
        /// The actions it has.
        given: String,
        /// The action that is missing.
        missing: PolicyAction,
    },
    /// It allows the filter's subscription, but not the delivery of messages.
    Receive,
    /// It names the resource in another partition, region or account.
    ArnPrefix {
        /// The pattern's beginning.
        given: String,
        /// The beginning of the request's resource name.
        needed: String,
    },
    /// It allows other client ids.
    ClientId {
        /// The client id that asked.
        asked: String,
    },
    /// A condition does not hold.
    Condition {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
    },
    /// A variable in it has no value for this connection.
    Variable {
        /// The variable's name.
        name: String,
    },
}

/// The near misses of a request that nothing allows, at most [`SHOWN`] of them.
pub(super) fn find(policies: &[Document], request: &Request<'_>, asked: &Asked) -> Vec<NearMiss> {
    let mut found = Vec::new();
    for (index, statement) in statements(policies) {
        if statement.effect == Effect::Deny {
            continue;
        }
        let scope = StatementScope {
            context: request.context,
            effect: Effect::Allow,
            version: policies[index.policy].version,
        };
        let Some((pattern, reason)) = reason(statement, request, asked, scope) else {
            continue;
        };
        found.push(NearMiss {
            statement: StatementIndex::named(index, policies, pattern),
            reason,
        });
        if found.len() == SHOWN {
            break;
        }
    }
    found
}

// === impl NearMiss ===

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { statement, reason } = self;
        let resource = &statement.resource;
        match reason {
            Reason::Kind { given, needed } => write!(
                f,
                "{statement} grants `{given}/…` where `{needed}/…` is checked"
            ),
            Reason::LiteralWildcard => write!(
                f,
                "{statement} has `+` or `#` in `{resource}`, which a policy takes literally: write `*`"
            ),
            Reason::FilterText { filter } => write!(
                f,
                "{statement} names the topic `{resource}`, but the filter's own text `{filter}` is what is matched"
            ),
            Reason::Wider { filter } => write!(
                f,
                "{statement} allows `{resource}`, but the filter `{filter}` is wider than that"
            ),
            Reason::SharePrefix { prefix } => write!(
                f,
                "{statement} grants `{resource}` without the `{prefix}` that is part of the filter"
            ),
            Reason::Action { given, missing } => {
                write!(
                    f,
                    "{statement} names the resource for {given} but not `{missing}`"
                )
            }
            Reason::Receive => write!(
                f,
                "{statement} allows to subscribe to `{resource}`, but every delivery needs `{}` on the topic too",
                PolicyAction::Receive
            ),
            Reason::ArnPrefix { given, needed } => write!(
                f,
                "{statement} is for `{given}`, but this broker is `{needed}`"
            ),
            Reason::ClientId { asked } => write!(
                f,
                "{statement} allows `{resource}`, not the client id `{asked}`"
            ),
            Reason::Condition { operator, key } => write!(
                f,
                "{statement} would allow it, but its condition `{operator}` on `{key}` does not hold"
            ),
            Reason::Variable { name } if name.starts_with("iot:Connection.Thing.") => write!(
                f,
                "{statement} uses `${{{name}}}`, which needs a thing named like the client id with this \
                 certificate attached"
            ),
            Reason::Variable { name } => write!(
                f,
                "{statement} uses `${{{name}}}`, which has no value for this connection"
            ),
        }
    }
}

// The first reason, the most telling first.
fn reason<'s>(
    statement: &'s Statement,
    request: &Request<'_>,
    asked: &Asked,
    scope: StatementScope<'_>,
) -> Option<(&'s str, Reason)> {
    let context = request.context;
    let arn = asked.resource.as_str();
    if !statement.covers(request.action) {
        return other_action(statement, request, arn, scope);
    }
    let patterns = || statement.resources.iter().map(String::as_str);

    if let Some(pattern) = patterns().find(|pattern| covers(pattern, scope, arn)) {
        return match condition::check(&statement.condition, request, scope) {
            ConditionResult::Unmet { operator, key } => {
                Some((pattern, Reason::Condition { operator, key }))
            }
            // An unknown one is no miss: it makes the decision unknown.
            ConditionResult::Met | ConditionResult::Unknown(_) => None,
        };
    }
    if let Some(other) = other_kind(request) {
        let arn = format!("{}:{other}", context.arn);
        if let Some(pattern) = patterns().find(|pattern| covers(pattern, scope, &arn)) {
            let (given, needed) = (kind_of(other), kind_of(request.resource));
            return Some((pattern, Reason::Kind { given, needed }));
        }
    }
    if let Resource::Filter(filter) = request.resource
        && let Some(found) = near_filter(statement, scope, filter)
    {
        return Some(found);
    }
    patterns().find_map(|pattern| near_pattern(pattern, request, arn, scope))
}

fn other_action<'s>(
    statement: &'s Statement,
    request: &Request<'_>,
    arn: &str,
    scope: StatementScope<'_>,
) -> Option<(&'s str, Reason)> {
    let mut patterns = statement.resources.iter().map(String::as_str);
    if let (PolicyAction::Receive, Resource::Topic(topic)) = (request.action, request.resource)
        && statement.covers(PolicyAction::Subscribe)
    {
        let covers = |pattern: &&str| {
            resource_name(pattern, "topicfilter")
                .is_some_and(|name| filter::matches(&name.replace('*', "+"), topic))
        };
        return patterns.find(covers).map(|found| (found, Reason::Receive));
    }
    let pattern = patterns.find(|pattern| *pattern != "*" && covers(pattern, scope, arn))?;
    let quoted: Vec<String> = statement
        .actions
        .iter()
        .map(|action| format!("`{action}`"))
        .collect();
    let reason = Reason::Action {
        given: quoted.join(", "),
        missing: request.action,
    };
    Some((pattern, reason))
}

fn near_filter<'s>(
    statement: &'s Statement,
    scope: StatementScope<'_>,
    filter: &str,
) -> Option<(&'s str, Reason)> {
    let mut patterns = statement.resources.iter().map(String::as_str);
    let (group, bare) = split_share(filter);
    if let Some(group) = group {
        let arn = format!("{}:{}", scope.context.arn, Resource::Filter(bare));
        return patterns
            .find(|pattern| covers(pattern, scope, &arn))
            .map(|pattern| {
                let prefix = format!("$share/{group}/");
                (pattern, Reason::SharePrefix { prefix })
            });
    }
    patterns.find_map(|pattern| {
        let name =
            resource_name(pattern, "topicfilter").or_else(|| resource_name(pattern, "topic"))?;
        // Any name stands for what a wildcard of the pattern may be.
        let sample = name.replace(['*', '?', '+', '#'], "x");
        if !filter::matches(filter, &sample) {
            return None;
        }
        let filter = filter.to_owned();
        let reason = match name == sample {
            true => Reason::FilterText { filter },
            false if filter::has_wildcard(&filter) => Reason::Wider { filter },
            false => return None,
        };
        Some((pattern, reason))
    })
}

fn near_pattern<'s>(
    pattern: &'s str,
    request: &Request<'_>,
    arn: &str,
    scope: StatementScope<'_>,
) -> Option<(&'s str, Reason)> {
    let context = request.context;
    if let Some(variable) = scope.pattern(pattern).unresolved().first() {
        let name = variable.name.clone();
        return Some((pattern, Reason::Variable { name }));
    }
    if covers(pattern, scope, arn) {
        return None;
    }
    if filter::has_wildcard(pattern) {
        let meant = pattern.replace(['+', '#'], "*");
        if covers(&meant, scope, arn) {
            return Some((pattern, Reason::LiteralWildcard));
        }
    }
    if let Some((given, resource)) = split_arn(pattern) {
        let needed = context.arn.to_string();
        let here = format!("{needed}:{resource}");
        if covers(&here, scope, arn) {
            let given = given.to_owned();
            return Some((pattern, Reason::ArnPrefix { given, needed }));
        }
    }
    if let Resource::Client(id) = request.resource {
        let asked = id.to_owned();
        return Some((pattern, Reason::ClientId { asked }));
    }
    None
}

fn covers(pattern: &str, scope: StatementScope<'_>, arn: &str) -> bool {
    resource::covers(pattern, scope, arn) == Truth::Yes
}

// The same name under the kind people confuse it with.
fn other_kind<'a>(request: &Request<'a>) -> Option<Resource<'a>> {
    match request.resource {
        Resource::Filter(name) => Some(Resource::Topic(name)),
        Resource::Topic(name) => Some(Resource::Filter(name)),
        Resource::Client(_) => None,
    }
}

fn kind_of(resource: Resource<'_>) -> &'static str {
    match resource {
        Resource::Client(_) => "client",
        Resource::Topic(_) => "topic",
        Resource::Filter(_) => "topicfilter",
    }
}

fn resource_name<'p>(pattern: &'p str, kind: &str) -> Option<&'p str> {
    let (_, resource) = split_arn(pattern)?;
    resource.strip_prefix(kind)?.strip_prefix('/')
}

// `arn:partition:iot:region:account` and the resource.
fn split_arn(pattern: &str) -> Option<(&str, &str)> {
    let (end, _) = pattern.match_indices(':').nth(4)?;
    Some((&pattern[..end], &pattern[end + 1..]))
}

// A sentence that lists more than a few statements is not read.
const SHOWN: usize = 3;
