//! What a party needs and its policies deny; pure.

use link::fault::Finding;
use link::iot::{ArnPrefix, Decision, Document, PolicyAction, Statement};

use super::NEEDS;
use super::demand::{Need, decide, denied, of};
use super::holder::Holder;

/// Whether the policies allow all that the party needs, and what to add where they do not.
pub(super) fn check(
    names: &str,
    documents: &[Document],
    holder: &Holder,
    arn: &ArnPrefix,
) -> Vec<Finding> {
    let denied = denied(documents, &holder.party, arn);
    let mut found = Vec::new();
    for action in PolicyAction::ALL {
        let of_action: Vec<&(Need, Decision)> = denied
            .iter()
            .filter(|(need, _)| need.action == action)
            .collect();
        found.extend(of_one(names, &of_action, holder, documents, arn));
    }
    if found.is_empty() {
        let all = of(&holder.party, arn).len();
        found.push(Finding::ok(
            NEEDS,
            format!(
                "{names}: {} may do all {all} things that it needs",
                holder.name
            ),
        ));
    }
    found
}

// All findings are of one action.
fn of_one(
    names: &str,
    denied: &[&(Need, Decision)],
    holder: &Holder,
    documents: &[Document],
    arn: &ArnPrefix,
) -> Option<Finding> {
    let (need, decision) = denied.first()?;
    let more = match denied.len() {
        1 => String::new(),
        many => format!(" (and {} more such)", many - 1),
    };
    let who = &holder.name;
    let on_thing = denied
        .iter()
        .all(|(need, _)| decide(documents, need, arn, true).is_allowed());
    if on_thing {
        let said = format!(
            "{names}: {who} may do what it needs with `{}` only while its certificate is attached to a thing whose name \
             is its client id{more}",
            need.action
        );
        return Some(Finding::info(NEEDS, said));
    }
    let asked = format!("`{}` on `{}`", need.action, resource(need, &need.on, arn));
    match decision {
        Decision::Unknown { .. } => {
            let said = format!("{names}: {who}: not known: {}{more}", decision.explain());
            Some(Finding::info(NEEDS, said))
        }
        Decision::Deny { by: Some(by), .. } => Some(
            Finding::error(
                NEEDS,
                format!("{names}: {who} needs {asked}, which {by} denies{more}"),
            )
            .why(WHY)
            .next(format!(
                "narrow `{}` of {by}: no allow outweighs a deny",
                by.resource
            )),
        ),
        Decision::Deny { near_misses, .. } => {
            let near: String = near_misses
                .iter()
                .take(2)
                .map(|miss| format!("; {miss}"))
                .collect();
            let said =
                format!("{names}: {who} needs {asked}, which no statement allows{more}{near}");
            Some(
                Finding::error(NEEDS, said)
                    .why(WHY)
                    .next(addition(denied, arn)),
            )
        }
        Decision::Allow { .. } => None,
    }
}

// One statement for all of an action.
fn addition(denied: &[&(Need, Decision)], arn: &ArnPrefix) -> String {
    let mut resources: Vec<String> = denied
        .iter()
        .map(|(need, _)| resource(need, &need.pattern, arn))
        .collect();
    resources.dedup();
    let action = denied.first().map(|(need, _)| need.action);
    let more = resources.len().saturating_sub(MAX_ADDED);
    resources.truncate(MAX_ADDED);
    let statement = Statement::allow(action, resources).to_json();
    match more {
        0 => format!("add to the policy: {statement}"),
        more => format!("add to the policy, with {more} more such resources: {statement}"),
    }
}

fn resource(need: &Need, name: &str, arn: &ArnPrefix) -> String {
    format!("{arn}:{}/{name}", need.action.resource_kind())
}

// Resources of a statement that is printed.
const MAX_ADDED: usize = 12;

const WHY: &str = "the program is refused at run time, some minutes after everything looked well";
