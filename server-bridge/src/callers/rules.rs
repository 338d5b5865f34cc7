//! Authorisation by a rules file: each rule grants callers verbs on bundles of some sources for some consumers; everything
//! else is denied.
//!
//! **Contract:** pure. A consumer itself is no source's: reading it takes a rule for its name, changing it one for every
//! source, because its removal takes everybody's bundles.

use std::collections::BTreeSet;

use link::id::ConsumerName;

use super::{Action, Caller, Denied, Part, Scope, Verb};
use crate::store::SourceName;

mod file;

pub(super) use file::parse;

/// All rules of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    users: Vec<Name>,
    groups: Vec<Name>,
    verbs: BTreeSet<Verb>,
    /// `None`: every one.
    sources: Option<BTreeSet<SourceName>>,
    consumers: Option<BTreeSet<ConsumerName>>,
}

/// A name of a user or group.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    Exact(String),
    /// Written with `*` at its end.
    Prefix(String),
}

// === impl Rules ===

impl Rules {
    pub(super) fn allow(&self, caller: &Caller, action: &Action) -> Result<(), Denied> {
        let Action {
            verb,
            source,
            consumer,
        } = action;
        if self
            .of(caller)
            .any(|rule| rule.verbs.contains(verb) && rule.covers(*verb, source, consumer))
        {
            return Ok(());
        }
        let mut text = format!("no rule lets `{}` {verb}", caller.user);
        match (source, consumer) {
            (Some(source), Some(consumer)) => {
                text += &format!(" bundles of source `{source}` for consumer `{consumer}`");
            }
            (Some(source), None) => text += &format!(" bundles of source `{source}`"),
            (None, Some(consumer)) => text += &format!(" consumer `{consumer}`"),
            (None, None) => {}
        }
        Err(Denied::Forbidden(text))
    }

    pub(super) fn scope(&self, caller: &Caller, verb: Verb) -> Result<Scope, Denied> {
        let parts: Vec<Part> = self
            .of(caller)
            .filter(|rule| rule.verbs.contains(&verb))
            .map(|rule| Part {
                sources: rule.sources.clone(),
                consumers: rule.consumers.clone(),
            })
            .collect();
        if parts.is_empty() {
            return Err(Denied::Forbidden(format!(
                "no rule lets `{}` {verb} anything",
                caller.user
            )));
        }
        Ok(Scope { parts })
    }

    /// Whether the caller has one of the verbs for anything.
    pub(super) fn any(&self, caller: &Caller, verbs: &[Verb]) -> bool {
        self.of(caller)
            .any(|rule| verbs.iter().any(|verb| rule.verbs.contains(verb)))
    }

    fn of(&self, caller: &Caller) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.is_for(caller))
    }
}

// === impl Rule ===

impl Rule {
    fn is_for(&self, caller: &Caller) -> bool {
        let user = self.users.iter().any(|name| name.is(&caller.user));
        user || self
            .groups
            .iter()
            .any(|name| caller.groups.iter().any(|group| name.is(group)))
    }

    fn covers(
        &self,
        verb: Verb,
        source: &Option<SourceName>,
        consumer: &Option<ConsumerName>,
    ) -> bool {
        let source = match (source, &self.sources) {
            (_, None) => true,
            (Some(source), Some(sources)) => sources.contains(source),
            (None, Some(_)) => verb.reads(),
        };
        let consumer = match (consumer, &self.consumers) {
            (_, None) => true,
            (Some(consumer), Some(consumers)) => consumers.contains(consumer),
            // What concerns no certain consumer: what is seen of others is left out by the scope.
            (None, Some(_)) => verb.reads(),
        };
        source && consumer
    }
}

// === impl Name ===

impl Name {
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callers::Mechanism;

    fn caller(user: &str, groups: &[&str]) -> Caller {
        Caller {
            user: user.into(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            from: ([127, 0, 0, 1], 1).into(),
            by: Mechanism::Certificate,
        }
    }

    fn action(verb: Verb, source: Option<&str>, consumer: Option<&str>) -> Action {
        Action {
            verb,
            source: source.map(|name| SourceName::new(name).unwrap()),
            consumer: consumer.map(|name| ConsumerName::new(name).unwrap()),
        }
    }

    const RULES: &str = "
rules:
- users: [ann, 'system:serviceaccount:team-a:*']
  sources: [a]
  consumers: [x]
  verbs: [get, list, create, publish, subscribe]
- users: [ann]
  sources: [b]
  consumers: [y]
  verbs: [list]
- groups: [ops]
  sources: ['*']
  consumers: ['*']
  verbs: ['*']
";

    #[test]
    fn what_no_rule_gives_is_refused_in_words() {
        let rules = parse(RULES).unwrap();
        let ann = caller("ann", &[]);
        let robot = caller("system:serviceaccount:team-a:robot", &["x"]);
        let ops = caller("bob", &["dev", "ops"]);
        let allowed = |caller: &Caller, verb, source, consumer| {
            rules.allow(caller, &action(verb, source, consumer)).is_ok()
        };
        for who in [&ann, &robot, &ops] {
            assert!(allowed(who, Verb::Create, Some("a"), Some("x")));
        }
        assert!(allowed(&ops, Verb::Delete, None, Some("x")));
        for (verb, source, consumer) in [
            (Verb::Create, Some("b"), Some("x")),
            (Verb::Create, Some("a"), Some("y")),
            (Verb::Delete, Some("a"), Some("x")),
            (Verb::Create, None, Some("x")),
            (Verb::Publish, Some("a"), None),
        ] {
            assert!(
                !allowed(&ann, verb, source, consumer),
                "{verb} {source:?} {consumer:?}"
            );
            assert!(!allowed(&caller("annika", &["op"]), verb, source, consumer));
        }
        assert!(allowed(&ann, Verb::Get, None, Some("x")));
        assert!(allowed(&ann, Verb::Subscribe, Some("a"), None));
        let refused = rules.allow(&ann, &action(Verb::Delete, Some("a"), Some("x")));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "no rule lets `ann` delete bundles of source `a` for consumer `x`"
        );
    }

    #[test]
    fn a_scope_is_the_union_of_rules_and_not_their_product() {
        let rules = parse(RULES).unwrap();
        let scope = rules.scope(&caller("ann", &[]), Verb::List).unwrap();
        let permits = |source: &str, consumer: &str| {
            let source = SourceName::new(source).unwrap();
            scope.permits(&source, &ConsumerName::new(consumer).unwrap())
        };
        assert!(permits("a", "x") && permits("b", "y"));
        assert!(!permits("a", "y") && !permits("b", "x"));
        assert!(!scope.is_all());
        assert!(
            rules
                .scope(&caller("x", &["ops"]), Verb::List)
                .unwrap()
                .is_all()
        );
        let refused = rules.scope(&caller("nobody", &[]), Verb::List);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "no rule lets `nobody` list anything"
        );
    }
}
