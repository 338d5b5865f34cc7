//! CONNECT, SUBSCRIBE, PUBLISH and the round trip, and what the policy refuses: all on two connections.
//!
//! A broker gives a client id to whoever came last. So a client id that a running agent or bridge may have is used only
//! when it is known to be free (by AWS, in the account that knows the certificate), or when `--take-over` says that it may be
//! taken (`own_id`); a foreign id is tried first in any case, which tells whether the policy refuses it. With a party's own id
//! the session is gone on with as the party does, and nothing that comes is acknowledged: what the broker keeps for it is there
//! when it comes back.

mod answers;
mod certificate;
mod client;
mod connect;
mod exchange;
mod foreign;
mod own_id;
mod seen;

use std::time::Duration;

use link::fault::{Code, Finding};
use link::iot::{ArnPrefix, PolicyAction};
use tokio::time::Instant;

use self::client::{Asked, RawClient};
use self::connect::{Own, Tries};
use self::seen::Ended;
use super::aws::facts::AwsFacts;
use super::evidence::Evidence;
use super::limits;
use super::policy;
use super::statement::statement;
use super::who::{Role, Who};
use super::{Context, Findings};
use crate::stage;

/// What the parts of the stage share.
pub(crate) struct SessionStage<'a> {
    pub(crate) facts: &'a AwsFacts,
    pub(crate) arn: ArnPrefix,
    findings: &'a mut Findings,
}

// === impl SessionStage ===

impl SessionStage<'_> {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.findings.add(finding);
    }
}

/// Connects, asks and leaves.
pub(crate) async fn check(
    context: &Context,
    who: &Who,
    evidence: &mut Evidence,
    findings: &mut Findings,
) {
    let Some(identity) = context.identity.as_deref() else {
        findings.skip(connect::CONNECT, "certificate, key and CA cannot be used");
        return;
    };
    let dial = |id: String, keep| async move {
        let asked = Asked {
            client_id: &id,
            keep,
        };
        let within = context.share(ANSWER_WITHIN);
        RawClient::connect(&context.target, identity, asked, within).await
    };
    let (foreign_client, foreign_answer) = split(dial(who.foreign.clone(), None).await);
    let keep = who.shared.then_some(KEEP);
    let dial_own = || dial(who.own.clone(), keep);
    let (own_client, tries) =
        own_id::connect(context, who, evidence, foreign_answer, dial_own).await;
    if tries.foreign.is_ok() || tries.own == Own::Taken {
        evidence.note_let_in();
    }
    let arn = evidence
        .aws
        .arn()
        .unwrap_or_else(|| context.target.arn.clone());
    let mut stage = SessionStage {
        facts: &evidence.aws,
        arn,
        findings,
    };
    let allow = statement(PolicyAction::Connect, &who.pattern(&who.own), &stage.arn);
    let found = connect::findings(&tries, who, &evidence.aws, &allow);
    let refused = connect::foreign(&tries, who, &allow);
    for finding in found.into_iter().chain(refused) {
        stage.add(finding);
    }
    if let Some(spreading) = spreading(&tries, &evidence.aws) {
        stage.add(spreading);
    }
    let held = Held {
        own_id: own_client.is_some(),
        // Taken because it was free, its owner may come back to it; whoever gives it away knows what he does.
        by_owner: who.role != Role::Operator && !context.args.far.take_over,
    };
    let client = match (own_client, foreign_client) {
        (Some(own), foreign) => {
            leave(foreign).await;
            Some(own)
        }
        (None, foreign) => foreign,
    };
    match client {
        Some(client) => on(context, who, &mut stage, client, held).await,
        None => without(context, who, &mut stage),
    }
}

/// What is known without a connection, where there is none to be had.
pub(crate) fn unreached(
    context: &Context,
    who: &Who,
    evidence: &Evidence,
    why: &str,
    findings: &mut Findings,
) {
    let facts = &evidence.aws;
    match certificate::of_connect(facts, who) {
        Some(finding) => findings.add(finding),
        None => findings.skip(connect::CONNECT, why),
    }
    let arn = facts.arn().unwrap_or_else(|| context.target.arn.clone());
    let mut stage = SessionStage {
        facts,
        arn,
        findings,
    };
    without(context, who, &mut stage);
}

// What a connection is held with.
#[derive(Clone, Copy)]
struct Held {
    /// The party's own client id.
    own_id: bool,
    /// Whether one takeover may be its owner's, who comes back.
    by_owner: bool,
}

// All that needs a connection.
async fn on(
    context: &Context,
    who: &Who,
    stage: &mut SessionStage<'_>,
    mut client: RawClient,
    Held { own_id, by_owner }: Held,
) {
    let started = Instant::now();
    if let Some(finding) = limits::granted(
        client.granted().maximum_packet,
        client.granted().receive_maximum,
    ) {
        stage.add(finding);
    }
    let step = exchange(context, who, stage, &mut client).await.err();
    let look = context.at_most(context.args.far.watch);
    let is_watched = own_id && who.shared;
    let watched = match step {
        None if is_watched => client.watch(look).await,
        _ => None,
    };
    if step.iter().chain(&watched).any(Ended::is_takeover) {
        let after = format!("after {} ms", started.elapsed().as_millis());
        stage.add(match by_owner {
            true => connect::owner_is_back(who, &after),
            false => connect::taken_over(who, &after),
        });
        return;
    }
    // What ended a step was said there.
    if step.is_some() {
        if is_watched {
            stage.findings.skip(IN_USE, "the connection had ended");
        }
        return;
    }
    match watched {
        Some(ended) => stage.add(
            Finding::error(connect::CONNECT, format!("the connection ended: {ended}"))
                .why("it was idle, and nothing was asked of the broker")
                .next(
                    "run it again; if it stays, look for a firewall or proxy that ends connections",
                ),
        ),
        None => {
            if is_watched {
                stage.add(Finding::ok(
                    IN_USE,
                    format!(
                        "nobody else took `{}` within {:.2} s",
                        who.own,
                        look.as_secs_f32()
                    ),
                ));
            }
            client.leave().await;
        }
    }
}

async fn exchange(
    context: &Context,
    who: &Who,
    stage: &mut SessionStage<'_>,
    client: &mut RawClient,
) -> Result<(), Ended> {
    if !context.wants(stage::Stage::Subscribe) {
        return Ok(());
    }
    let subscribed = exchange::subscribe(stage, who, client).await?;
    if !context.wants(stage::Stage::Publish) {
        return Ok(());
    }
    let published = exchange::publish(stage, who, client).await?;
    if !context.wants(stage::Stage::RoundTrip) {
        return Ok(());
    }
    if !who.hears_itself() {
        one_way(who, stage);
    } else if subscribed && published {
        let within = context.share(ROUND_TRIP_WITHIN);
        exchange::round_trip(stage, who, client, within).await?;
    } else {
        stage.findings.skip(ROUND_TRIP, "what it needs was refused");
    }
    foreign::check(stage, who, client).await
}

// Without a connection the attached policies may say what would be answered.
fn without(context: &Context, who: &Who, stage: &mut SessionStage<'_>) {
    let found = policy::by_documents(who, stage.facts, &stage.arn);
    if found.is_empty() {
        for (code, needs) in [
            (SUBSCRIBE, stage::Stage::Subscribe),
            (PUBLISH, stage::Stage::Publish),
            (ROUND_TRIP, stage::Stage::RoundTrip),
            (policy::REFUSES, stage::Stage::RoundTrip),
        ] {
            if context.wants(needs) {
                stage
                    .findings
                    .skip(code, "there is no connection to ask on");
            }
        }
    }
    for finding in found {
        stage.add(finding);
    }
}

// An agent and a bridge do not receive what they publish.
fn one_way(who: &Who, stage: &mut SessionStage<'_>) {
    let finding = policy::receive(who, stage.facts, &stage.arn).unwrap_or_else(|| {
        let role = match who.role {
            Role::Bridge(_) => "a bridge",
            _ => "an agent",
        };
        Finding::info(
            ROUND_TRIP,
            format!("not checked: {role} does not receive what it publishes, so that a denied `iot:Receive` (MQ341) does not show"),
        )
        .next("give credentials of AWS; without them only a bundle that waits shows it (`--api`), or a canary of `server-bridge verify`")
    });
    stage.add(finding);
}

// The broker answers otherwise than the attached policies say.
fn spreading(tries: &Tries, facts: &AwsFacts) -> Option<Finding> {
    let taken = tries.own == Own::Taken;
    let refused = matches!(&tries.own, Own::Ended(ended) if ended.is_refusal());
    let allowed = facts.connect_allowed()?;
    if (taken && !allowed) || (refused && allowed) {
        let recent = facts
            .recent()
            .unwrap_or_else(|| "no policy was changed in the last 8 minutes".into());
        let (broker, policies) = match taken {
            true => ("takes", "refuse"),
            false => ("refuses", "allow"),
        };
        return Some(
            Finding::warning(
                policy::FLAPPING,
                format!("the broker {broker} the client id, and the attached policies {policies} it"),
            )
            .why(format!("a change of a policy or a certificate takes 6 to 8 minutes to reach every host of the broker; {recent}"))
            .next("change nothing; run it again in 8 minutes"),
        );
    }
    None
}

fn split(answer: Result<RawClient, Ended>) -> (Option<RawClient>, Result<(), Ended>) {
    match answer {
        Ok(client) => (Some(client), Ok(())),
        Err(ended) => (None, Err(ended)),
    }
}

async fn leave(client: Option<RawClient>) {
    if let Some(client) = client {
        client.leave().await;
    }
}

const IN_USE: Code = Code::new(304);
const SUBSCRIBE: Code = Code::new(320);
const PUBLISH: Code = Code::new(330);
const ROUND_TRIP: Code = Code::new(340);

// As agent and bridge ask for (`link::mqtt::Config::new`).
const KEEP: u32 = 3600;

// A round trip to the other side of the world and back, several times.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const ROUND_TRIP_WITHIN: Duration = Duration::from_secs(2);
