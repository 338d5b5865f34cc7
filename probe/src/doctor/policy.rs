//! What the attached policies say where the broker is not asked, and what it means that something foreign is allowed; pure.

use link::fault::{Code, Finding};
use link::iot::{ArnPrefix, Decision, PolicyAction};

use super::aws::facts::AwsFacts;
use super::statement::statement;
use super::who::Who;

/// What the attached policies say of everything that was not asked of the broker; nothing where they are not known.
pub(crate) fn by_documents(who: &Who, facts: &AwsFacts, arn: &ArnPrefix) -> Vec<Finding> {
    let mut found = Vec::new();
    // Without one nothing is allowed, which is said once.
    if facts.policies.as_ref().map_or(true, Vec::is_empty) {
        return found;
    }
    for filter in &who.filters {
        found.extend(of_decision(
            facts.decide(PolicyAction::Subscribe, filter),
            (SUBSCRIBE, Code::new(321)),
            &statement(PolicyAction::Subscribe, &who.pattern(filter), arn),
        ));
    }
    found.extend(of_decision(
        facts.decide(PolicyAction::Publish, &who.topic),
        (PUBLISH, Code::new(331)),
        &statement(PolicyAction::Publish, &who.pattern(&who.topic), arn),
    ));
    found.extend(receive(who, facts, arn));
    let allowed = |action, names: &[String]| -> Vec<String> {
        let is_allowed =
            |name: &&String| facts.decide(action, name).is_some_and(|it| it.is_allowed());
        names.iter().filter(is_allowed).cloned().collect()
    };
    let topics = allowed(PolicyAction::Publish, &who.foreign_topics);
    found.push(published(who, &topics));
    let filters = allowed(PolicyAction::Subscribe, &who.foreign_filters);
    found.push(subscribed(who, &filters));
    if facts
        .decide(PolicyAction::Connect, &who.foreign)
        .is_some_and(|it| it.is_allowed())
    {
        found.push(
            Finding::warning(
                Code::new(311),
                format!(
                    "the attached policies allow `{}`, a client id that is nobody's",
                    who.foreign
                ),
            )
            .why("whoever holds this certificate can throw any agent or the bridge out")
            .next(format!(
                "allow this party's own ids alone: {}{}",
                statement(PolicyAction::Connect, &who.pattern(&who.own), arn),
                who.named_by()
            )),
        );
    }
    found
}

/// Whether the attached policies allow what comes; `None` where they are not known.
pub(crate) fn receive(who: &Who, facts: &AwsFacts, arn: &ArnPrefix) -> Option<Finding> {
    // One that stands for all topics of the filter.
    let topic = who.party.receives().first()?.replace('*', &who.foreign);
    let mut decision = facts.decide(PolicyAction::Receive, &topic);
    if who.hears_itself() {
        decision = facts.decide(PolicyAction::Receive, &who.topic);
    }
    let on = match who.hears_itself() {
        true => &who.topic,
        false => who.party.receives().first()?,
    };
    of_decision(
        decision,
        (ROUND_TRIP, Code::new(341)),
        &statement(PolicyAction::Receive, &who.pattern(on), arn),
    )
}

// `(general, denied)` codes.
fn of_decision(
    decision: Option<Decision>,
    (general, denied): (Code, Code),
    add: &str,
) -> Option<Finding> {
    let decision = decision?;
    let explained = decision.explain();
    Some(match decision {
        Decision::Allow { .. } => Finding::ok(general, explained),
        Decision::Deny { .. } => Finding::error(denied, explained)
            .why("no other operation makes up for it")
            .next(format!("add to the policy: {add}")),
        Decision::Unknown { .. } => Finding::info(general, format!("not known: {explained}")),
    })
}

/// What foreign topics mean of which some were taken.
pub(crate) fn published(who: &Who, taken: &[impl AsRef<str>]) -> Finding {
    match taken.first() {
        None => Finding::ok(
            FOREIGN_PUBLISH,
            format!("publishing to {} is refused", list(&who.foreign_topics)),
        ),
        Some(_) => Finding::warning(
            FOREIGN_PUBLISH,
            format!(
                "publishing to {} is allowed, which is not this party's",
                list(taken)
            ),
        )
        .why("whoever holds this certificate can speak for another consumer, or for the bridge")
        .next(format!(
            "allow `iot:Publish` on {} alone (`provisioner policy check` shows who may do what)",
            list(who.party.publishes())
        )),
    }
}

/// What foreign filters mean of which some were granted.
pub(crate) fn subscribed(who: &Who, granted: &[impl AsRef<str>]) -> Finding {
    match granted.first() {
        None => Finding::ok(
            FOREIGN_SUBSCRIBE,
            format!("subscribing to {} is refused", list(&who.foreign_filters)),
        ),
        Some(_) => Finding::warning(
            FOREIGN_SUBSCRIBE,
            format!("subscribing to {} is allowed, which is not this party's", list(granted)),
        )
        .why("whoever holds this certificate can read manifests or statuses of other clusters, secrets included")
        .next(format!(
            "allow `iot:Subscribe` on {} alone",
            list(who.party.subscribes())
        )),
    }
}

fn list(names: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    names.join(", ")
}

/// That the policy refuses what is not this party's.
pub(crate) const REFUSES: Code = Code::new(310);
/// That a change of a policy is on its way.
pub(crate) const FLAPPING: Code = Code::new(314);
const FOREIGN_PUBLISH: Code = Code::new(312);
const FOREIGN_SUBSCRIBE: Code = Code::new(313);
const SUBSCRIBE: Code = Code::new(320);
const PUBLISH: Code = Code::new(330);
const ROUND_TRIP: Code = Code::new(340);
