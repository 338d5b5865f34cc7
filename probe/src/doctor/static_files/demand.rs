//! What a party needs, by its own policy, and what of it policies do not allow; pure.

use link::id::ClientId;
use link::iot::{
    ArnPrefix, Context, Decision, Document, Effect, PolicyAction, Request, Resource, Thing,
    evaluate,
};
use link::party::Party;

/// One thing that a party does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) action: PolicyAction,
    /// On what, one of the pattern's.
    pub(super) on: String,
    /// The client id that it is done with.
    pub(super) as_client: String,
    /// As a policy says it.
    pub(super) pattern: String,
}

/// What the documents do not allow of what a party needs.
pub(super) fn denied(
    documents: &[Document],
    party: &Party,
    arn: &ArnPrefix,
) -> Vec<(Need, Decision)> {
    let needs = of(party, arn).into_iter().map(|need| {
        let decision = decide(documents, &need, arn, false);
        (need, decision)
    });
    needs
        .filter(|(_, decision)| !decision.is_allowed())
        .collect()
}

/// With the certificate attached to a thing of the client's name, or with no thing.
pub(super) fn decide(
    documents: &[Document],
    need: &Need,
    arn: &ArnPrefix,
    with_thing: bool,
) -> Decision {
    let mut context = Context::new(arn.clone(), &need.as_client);
    context.thing = with_thing.then(|| Thing {
        name: need.as_client.clone(),
        attached: true,
        ..Thing::default()
    });
    evaluate(
        documents,
        &Request {
            action: need.action,
            resource: Resource::of(need.action, &need.on),
            context: &context,
        },
    )
}

/// All that a party needs, by its own policy: connections by their ids, and one of what each pattern stands for.
pub(super) fn of(party: &Party, arn: &ArnPrefix) -> Vec<Need> {
    let mut ids: Vec<String> = party.client_ids().iter().map(ClientId::to_string).collect();
    let own = ids.first().cloned().unwrap_or_default();
    if party.event_source().is_none() {
        // An operator's further ids.
        ids.push(format!("{own}-{SAMPLE}"));
    }
    let connects = ids.into_iter().map(|id| Need {
        action: PolicyAction::Connect,
        on: id.clone(),
        as_client: id.clone(),
        pattern: id,
    });
    let mut needs: Vec<Need> = connects.collect();
    let policy = party.policy(arn);
    let allows = policy
        .statements
        .iter()
        .filter(|statement| statement.effect == Effect::Allow);
    for statement in allows {
        for action in PolicyAction::ALL {
            if action == PolicyAction::Connect || !statement.covers(action) {
                continue;
            }
            let before = format!("{arn}:{}/", action.resource_kind());
            let patterns = statement
                .resources
                .iter()
                .filter_map(|name| name.strip_prefix(&before));
            // Which name a shared subscription is delivered under is not documented (docs/IOT-CORE.md §1.5): either will do.
            let patterns = patterns
                .filter(|name| action != PolicyAction::Receive || !name.starts_with("$share/"));
            needs.extend(patterns.map(|pattern| Need {
                action,
                on: pattern.replace('*', SAMPLE),
                as_client: own.clone(),
                pattern: pattern.to_owned(),
            }));
        }
    }
    needs
}

// What a `*` of a party's own policy stands for.
const SAMPLE: &str = "doctor-sample";
