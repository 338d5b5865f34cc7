//! What policies allow and the party does not need; pure.
//!
//! Nobody can list all that a pattern covers, so what is tried are one or some names for each pattern of the policies
//! themselves, and what is foreign to the party: other client ids, other consumers' topics, all topics. Whether the party
//! needs it says its own policy.

use std::collections::BTreeMap;

use link::fault::Finding;
use link::iot::{
    ArnPrefix, Context, Decision, Document, Effect, PolicyAction, Request, Resource, Statement,
    StatementRef, evaluate,
};
use link::party::Party;

use super::EXCESS;
use super::holder::Holder;

/// For each statement that allows more than the party needs, one thing that it allows.
pub(super) fn check(
    names: &str,
    documents: &[Document],
    holder: &Holder,
    arn: &ArnPrefix,
) -> Vec<Finding> {
    let parties: Vec<&Party> = std::iter::once(&holder.party).chain(&holder.also).collect();
    let own: Vec<Document> = parties.iter().map(|party| party.policy(arn)).collect();
    let id = holder
        .party
        .client_ids()
        .first()
        .map_or_else(String::new, ToString::to_string);
    let asked = Asking { arn, id: &id };
    let mut found: BTreeMap<(usize, usize), Finding> = BTreeMap::new();
    for (action, name) in foreign(holder).into_iter().chain(sampled(documents, &id)) {
        let Decision::Allow { by, .. } = asked.decide(documents, action, &name) else {
            continue;
        };
        if !asked.decide(&own, action, &name).is_allowed() {
            found.entry((by.policy, by.statement)).or_insert_with(|| {
                let named = format!("{arn}:{}/{name}", action.resource_kind());
                let narrow = narrower(&own, action);
                excess(names, &by, holder, action.name(), &named, &narrow)
            });
        }
    }
    for (index, statement, action) in beyond(documents) {
        found.entry(index).or_insert_with(|| {
            let by = statement_ref(documents, index, statement);
            let narrow = "take the action out: no party of the link uses it";
            excess(names, &by, holder, action, &by.resource, narrow)
        });
    }
    if found.is_empty() {
        let said = format!(
            "{names}: nothing was found that {} may do and does not need",
            holder.name
        );
        return vec![Finding::ok(EXCESS, said)];
    }
    found.into_values().collect()
}

struct Asking<'a> {
    arn: &'a ArnPrefix,
    id: &'a str,
}

// === impl Asking ===

impl Asking<'_> {
    // A connection under another id is that one's; all else is done under the party's own, if it may connect.
    fn decide(&self, documents: &[Document], action: PolicyAction, name: &str) -> Decision {
        let id = match action {
            PolicyAction::Connect => name,
            _ => self.id,
        };
        let context = Context::new(self.arn.clone(), id);
        evaluate(
            documents,
            &Request {
                action,
                resource: Resource::of(action, name),
                context: &context,
            },
        )
    }
}

fn excess(
    names: &str,
    by: &StatementRef,
    holder: &Holder,
    action: &str,
    on: &str,
    narrow: &str,
) -> Finding {
    let who = &holder.name;
    let said = format!(
        "{names}: {by} allows `{action}` on `{on}` (its resource is `{}`), which {who} does not need",
        by.resource
    );
    let why = match action {
        "iot:Connect" => {
            "whoever holds this certificate can throw the owner of that client id out, and take its place"
        }
        "iot:Publish" => {
            "whoever holds this certificate can speak for others: for another consumer, or for the bridge"
        }
        "iot:RetainPublish" => {
            "whoever holds this certificate can leave messages that everybody gets who subscribes later"
        }
        "iot:Subscribe" | "iot:Receive" => {
            "whoever holds this certificate can read manifests or statuses of other clusters, secrets included"
        }
        _ => "whoever holds this certificate can do that too",
    };
    Finding::warning(EXCESS, said).why(why).next(narrow)
}

// What the party's own policy says of the action.
fn narrower(own: &[Document], action: PolicyAction) -> String {
    let statements = own.iter().take(1).flat_map(|document| &document.statements);
    let mut own = statements
        .filter(|statement| statement.effect == Effect::Allow && statement.covers(action));
    match own.next() {
        Some(statement) => {
            let mut resources = statement.resources.clone();
            let more = resources.len().saturating_sub(MAX_SHOWN);
            resources.truncate(MAX_SHOWN);
            let narrow = Statement::allow([action], resources).to_json();
            match more {
                0 => format!("allow no more than this: {narrow}"),
                more => format!("allow no more than this and {more} more such resources: {narrow}"),
            }
        }
        None => format!("take `{action}` out: the party needs it nowhere"),
    }
}

// What belongs to others, whatever the policies say.
fn foreign(holder: &Holder) -> Vec<(PolicyAction, String)> {
    let connects = holder
        .strangers
        .iter()
        .map(|id| (PolicyAction::Connect, id.clone()));
    let mut all: Vec<(PolicyAction, String)> = connects.collect();
    let scheme = &holder.scheme;
    let mut topics = vec!["doctor-nobody/x".to_owned()];
    for consumer in &holder.others {
        topics.push(scheme.source_events(consumer));
        topics.push(scheme.agent_events(consumer));
    }
    let everybodys = [
        "#".to_owned(),
        scheme.bridge_topics().source_events,
        scheme.agent_events_filter(),
    ];
    all.extend(
        everybodys
            .into_iter()
            .map(|filter| (PolicyAction::Subscribe, filter)),
    );
    for topic in topics {
        for action in PolicyAction::ALL {
            if action != PolicyAction::Connect {
                all.push((action, topic.clone()));
            }
        }
    }
    all
}

// Names that the policies' own patterns stand for.
fn sampled(documents: &[Document], id: &str) -> Vec<(PolicyAction, String)> {
    let mut all = Vec::new();
    let statements = documents.iter().flat_map(|document| &document.statements);
    let allows = statements.filter(|statement| statement.effect == Effect::Allow);
    for statement in allows {
        for action in PolicyAction::ALL {
            if !statement.covers(action) {
                continue;
            }
            let kind = format!(":{}/", action.resource_kind());
            let patterns = statement
                .resources
                .iter()
                .filter_map(|text| text.split_once(&kind));
            for (_, pattern) in patterns {
                let pattern = pattern.replace("${iot:ClientId}", id);
                if pattern.contains("${") {
                    continue;
                }
                for sample in SAMPLES {
                    let name = pattern.replace('*', sample).replace('?', "x");
                    if !name.is_empty() && all.len() < MAX_TRIED {
                        all.push((action, name));
                    }
                }
            }
        }
    }
    all
}

// Actions of devices that no party of the link takes, such as those of shadows and jobs.
fn beyond(documents: &[Document]) -> impl Iterator<Item = ((usize, usize), &Statement, &str)> {
    let documents = documents.iter().enumerate();
    let statements = documents.flat_map(|(policy, document)| {
        let statements = document.statements.iter().enumerate();
        statements.map(move |(index, statement)| ((policy, index), statement))
    });
    let allows = statements.filter(|(_, statement)| statement.effect == Effect::Allow);
    allows.flat_map(|(index, statement)| {
        let others = statement.actions.iter().filter(|name| {
            !name.contains(['*', '?'])
                && PolicyAction::ALL.iter().all(|known| known.name() != *name)
        });
        others.map(move |name| (index, statement, name.as_str()))
    })
}

fn statement_ref(
    documents: &[Document],
    (policy, index): (usize, usize),
    statement: &Statement,
) -> StatementRef {
    StatementRef {
        policy,
        policy_name: documents
            .get(policy)
            .and_then(|document| document.name.clone()),
        statement: index,
        sid: statement.sid.clone(),
        resource: statement.resources.first().cloned().unwrap_or_default(),
    }
}

// What a `*` may stand for: a name, more levels, and nothing.
const SAMPLES: [&str; 3] = ["doctor-sample", "a/b", ""];

// A policy has 2 048 characters: far fewer patterns than this.
const MAX_TRIED: usize = 5000;

// Resources of a statement that is printed.
const MAX_SHOWN: usize = 12;
