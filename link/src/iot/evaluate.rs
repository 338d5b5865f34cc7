//! Allow, deny or unknown, with the statement that decided and, for a deny, what would have allowed it.
//!
//! Deny by default; a matching Deny wins over every Allow (docs/IOT-CORE.md §1.7). The parts of one MQTT operation (a
//! retained publish needs `iot:Publish` and `iot:RetainPublish`, everything needs `iot:Connect`) are evaluated in turn.
//!
//! **Invariant:** the answer is Allow only where AWS's documentation says so. Where a statement that may decide has a
//! construct whose meaning is not documented, or not known here, the answer is [`Decision::Unknown`] with the
//! construct; callers treat it as a deny. `evaluate/golden` holds the documentation's cases.

use std::fmt;

use super::context::Context;
use super::policy::{Document, Effect, PolicyAction, Statement};
use super::wildcard;

pub use self::near_miss::NearMiss;
pub use self::unknown::Construct;

use self::condition::ConditionResult;
use self::resource::StatementScope;
use self::unknown::Truth;

mod action;
pub(crate) mod condition;
mod near_miss;
mod resource;
mod unknown;

/// What a client wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The action that is checked.
    pub action: PolicyAction,
    /// On what.
    pub resource: Resource<'a>,
    /// By whom.
    pub context: &'a Context,
}

/// What an action is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A client id: `client/<id>`.
    Client(&'a str),
    /// A topic: `topic/<name>`.
    Topic(&'a str),
    /// The filter of a SUBSCRIBE as it was sent, with any `$share/NAME/`: `topicfilter/<filter>`.
    Filter(&'a str),
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it and none denies it.
    Allow {
        /// The first statement that allows it.
        by: StatementRef,
        /// What was asked.
        asked: Asked,
    },
    /// It is denied.
    Deny {
        /// The statement that denies it; `None` when it is only that nothing allows it.
        by: Option<StatementRef>,
        /// The smallest statement that would allow it; `None` when a Deny, or one that is unknown, must be narrowed
        /// instead.
        addition: Option<Statement>,
        /// Allow statements that look as if they were meant for this, and why they do not apply.
        near_misses: Vec<NearMiss>,
        /// What was asked.
        asked: Asked,
    },
    /// It depends on a construct that is not known here: to be refused, with the construct as the reason.
    Unknown {
        /// The statement with the construct; `None` when a whole document is unknown.
        by: Option<StatementRef>,
        /// The construct.
        construct: Construct,
        /// What was asked.
        asked: Asked,
    },
}

/// What was asked, kept for the explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The action.
    pub action: PolicyAction,
    /// The full resource name.
    pub resource: String,
    /// How many policies were looked at; with none, the certificate has no policy attached.
    pub policies: usize,
}

/// A statement by its index among the policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementRef {
    /// Index of the policy among those evaluated.
    pub policy: usize,
    /// The policy's name, if it has one.
    pub policy_name: Option<String>,
    /// Index of the statement in the policy.
    pub statement: usize,
    /// The statement's id, if it has one.
    pub sid: Option<String>,
    /// The resource pattern, as written, that is spoken of.
    pub resource: String,
}

/// Decides a request under all policies attached to a certificate.
pub fn evaluate(policies: &[Document], request: &Request<'_>) -> Decision {
    let asked = Asked {
        action: request.action,
        resource: request.arn(),
        policies: policies.len(),
    };
    let mut allowed = None;
    let unread = policies
        .iter()
        .find_map(unread)
        .map(|construct| (None, construct));
    let (mut may_deny, mut may_allow) = (unread.clone(), unread);
    for (index, statement) in statements(policies) {
        let scope = StatementScope {
            context: request.context,
            effect: statement.effect,
            version: policies[index.policy].version,
        };
        let (pattern, applies) = applies(statement, request, &asked.resource, scope);
        let named = || index.named(policies, pattern);
        match (statement.effect, applies) {
            (_, Truth::No) => {}
            (Effect::Deny, Truth::Yes) => {
                return Decision::Deny {
                    by: Some(named()),
                    addition: None,
                    near_misses: Vec::new(),
                    asked,
                };
            }
            (Effect::Allow, Truth::Yes) => {
                allowed.get_or_insert_with(named);
            }
            (Effect::Deny, Truth::Unknown(construct)) => {
                may_deny.get_or_insert_with(|| (Some(named()), construct));
            }
            (Effect::Allow, Truth::Unknown(construct)) => {
                may_allow.get_or_insert_with(|| (Some(named()), construct));
            }
        }
    }
    match (allowed, may_deny, may_allow) {
        (Some(by), None, _) => Decision::Allow { by, asked },
        (Some(_), Some((by, construct)), _) | (None, _, Some((by, construct))) => {
            Decision::Unknown {
                by,
                construct,
                asked,
            }
        }
        (None, may_deny, None) => Decision::Deny {
            by: None,
            addition: may_deny.is_none().then(|| {
                let resource = wildcard::escape(&asked.resource);
                Statement::allow([request.action], [resource])
            }),
            near_misses: near_miss::find(policies, request, &asked),
            asked,
        },
    }
}

// === impl Request ===

impl<'a> Request<'a> {
    /// The connection itself, under the context's client id.
    pub fn connect(context: &'a Context) -> Self {
        Self::new(
            PolicyAction::Connect,
            Resource::Client(&context.client_id),
            context,
        )
    }

    /// A PUBLISH to `topic`.
    pub fn publish(topic: &'a str, context: &'a Context) -> Self {
        Self::new(PolicyAction::Publish, Resource::Topic(topic), context)
    }

    /// The retain flag on a PUBLISH to `topic`.
    pub fn retain_publish(topic: &'a str, context: &'a Context) -> Self {
        Self::new(PolicyAction::RetainPublish, Resource::Topic(topic), context)
    }

    /// One filter of a SUBSCRIBE.
    pub fn subscribe(filter: &'a str, context: &'a Context) -> Self {
        Self::new(PolicyAction::Subscribe, Resource::Filter(filter), context)
    }

    /// The delivery of a message on `topic`.
    pub fn receive(topic: &'a str, context: &'a Context) -> Self {
        Self::new(PolicyAction::Receive, Resource::Topic(topic), context)
    }

    /// The full resource name that policies are matched against.
    pub fn arn(&self) -> String {
        format!("{}:{}", self.context.arn, self.resource)
    }

    fn new(action: PolicyAction, resource: Resource<'a>, context: &'a Context) -> Self {
        Self {
            action,
            resource,
            context,
        }
    }
}

// === impl Resource ===

impl<'a> Resource<'a> {
    /// What an action on `name` is checked against.
    pub fn of(action: PolicyAction, name: &'a str) -> Self {
        match action {
            PolicyAction::Connect => Self::Client(name),
            PolicyAction::Subscribe => Self::Filter(name),
            _ => Self::Topic(name),
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "client/{id}"),
            Self::Topic(topic) => write!(f, "topic/{topic}"),
            Self::Filter(filter) => write!(f, "topicfilter/{filter}"),
        }
    }
}

// === impl Decision ===

impl Decision {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// One sentence for a person: what was decided, by which statement, and for a deny what to change.
    pub fn explain(&self) -> String {
        match self {
            Self::Allow { by, asked } => {
                format!(
                    "{asked} is allowed by {by}, whose resource is `{}`",
                    by.resource
                )
            }
            Self::Deny {
                by: Some(by),
                asked,
                ..
            } => format!(
                "{asked} is denied by {by}: narrow that statement, its resource `{}` covers this one and no \
                 allow can outweigh it",
                by.resource
            ),
            Self::Deny {
                addition,
                near_misses,
                asked,
                ..
            } => {
                let missing = match asked.policies {
                    0 => "no policy is attached",
                    _ => "no statement allows it",
                };
                let mut text = format!("{asked} is denied because {missing}");
                for miss in near_misses {
                    text.push_str("; ");
                    text.push_str(&miss.to_string());
                }
                if let Some(addition) = addition {
                    text.push_str("; add ");
                    text.push_str(&addition.to_json());
                }
                text
            }
            Self::Unknown {
                by,
                construct,
                asked,
            } => {
                let statement = by
                    .as_ref()
                    .map(|by| format!(" in {by}"))
                    .unwrap_or_default();
                format!(
                    "{asked} is refused as unknown: construct {construct}{statement}; {}",
                    construct.hint()
                )
            }
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` on `{}`", self.action, self.resource)
    }
}

impl fmt::Display for StatementRef {
    /// `statement 2 of policy `agent``, counting from 1, with the sid if there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}", self.statement + 1)?;
        if let Some(sid) = &self.sid {
            write!(f, " (`{sid}`)")?;
        }
        match &self.policy_name {
            Some(name) => write!(f, " of policy `{name}`"),
            None => write!(f, " of policy {}", self.policy + 1),
        }
    }
}

// A statement's index, before its names are needed.
#[derive(Clone, Copy)]
struct StatementIndex {
    policy: usize,
    statement: usize,
}

impl StatementIndex {
    fn named(self, policies: &[Document], resource: &str) -> StatementRef {
        let document = &policies[self.policy];
        StatementRef {
            policy: self.policy,
            policy_name: document.name.clone(),
            statement: self.statement,
            sid: document.statements[self.statement].sid.clone(),
            resource: resource.to_owned(),
        }
    }
}

fn statements(policies: &[Document]) -> impl Iterator<Item = (StatementIndex, &Statement)> {
    policies.iter().enumerate().flat_map(|(policy, document)| {
        let statements = document.statements.iter().enumerate();
        statements.map(move |(statement, content)| (StatementIndex { policy, statement }, content))
    })
}

// Whether the statement applies, and the resource pattern that this is about.
fn applies<'s>(
    statement: &'s Statement,
    request: &Request<'_>,
    arn: &str,
    scope: StatementScope<'_>,
) -> (&'s str, Truth) {
    let action = action::covers(statement, request.action);
    if action == Truth::No {
        return ("", Truth::No);
    }
    let mut pattern = "";
    let resource = Truth::any(statement.resources.iter().map(|text| {
        let covered = resource::covers(text, scope, arn);
        if covered == Truth::Yes || (covered != Truth::No && pattern.is_empty()) {
            pattern = text.as_str();
        }
        covered
    }));
    if resource == Truth::No {
        return ("", Truth::No);
    }
    let condition = match condition::check(&statement.condition, request, scope) {
        ConditionResult::Met => Truth::Yes,
        ConditionResult::Unmet { .. } => Truth::No,
        ConditionResult::Unknown(construct) => Truth::Unknown(construct),
    };
    let applies = Truth::all([action, resource, condition]);
    if applies == Truth::Yes
        && scope.effect == Effect::Allow
        && let Some(construct) = resource::unresolved(statement, scope)
    {
        return (pattern, Truth::Unknown(construct));
    }
    (pattern, applies)
}

fn unread(document: &Document) -> Option<Construct> {
    let reason = document.unread.clone()?;
    let name = document.name.clone();
    Some(Construct::Document { name, reason })
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
