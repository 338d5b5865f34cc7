//! The stages from CONNECT on, in their order: what AWS and the region's API know, the session, names, numbers, the other end.

use link::fault::Code;

use tokio::time::{Instant, sleep};

use super::evidence::Evidence;
use super::who::Who;
use super::{
    Context, Findings, NOT_ASKED, Next, aws, clock, far_end, in_time, limits, names, session,
};
use crate::stage::Stage;

/// Goes through them; `below` is whether there is a way to the broker.
pub(super) async fn check(context: &Context, below: Next, findings: &mut Findings) {
    if !context.wants(Stage::Connect) {
        findings.skip(SESSION, NOT_ASKED);
        return;
    }
    for finding in names::check(context) {
        findings.add(finding);
    }
    let who = match Who::of(context) {
        Ok(who) => who,
        Err(failure) => {
            findings.skip(SESSION, &format!("names and topics do not fit ({failure})"));
            return;
        }
    };
    for finding in limits::check(context, &who) {
        findings.add(finding);
    }
    let mut evidence = None;
    let _ = in_time(context, OTHER, findings, async |context, _| {
        evidence = Some(Evidence::gather(context, &who).await);
        Next::Continue
    })
    .await;
    let asked = Instant::now();
    let Some(mut evidence) = evidence else {
        findings.skip(SESSION, "the time was up");
        return;
    };
    match below {
        Next::Continue => {
            let _ = in_time(context, SESSION, findings, async |context, findings| {
                Box::pin(session::check(context, &who, &mut evidence, findings)).await;
                Next::Continue
            })
            .await;
        }
        Next::Stop(why) => session::unreached(context, &who, &evidence, &why, findings),
    }
    if !context.wants_all() {
        return;
    }
    if let Some(finding) = clock::by_aws(&evidence.aws, findings) {
        findings.add(finding);
    }
    // Who was left alone is looked at from outside.
    if who.shared
        && evidence.connected(&who.own).is_some_and(|(it, _)| it)
        && !context.args.far.take_over
    {
        let watch = context.args.far.watch;
        sleep(context.at_most(watch.saturating_sub(asked.elapsed()))).await;
        let turns = aws::takes_turns(context, &who, &evidence.aws, asked.elapsed()).await;
        findings.extend(turns);
    }
    for finding in far_end::findings(&evidence, &who) {
        findings.add(finding);
    }
    for finding in aws::findings(context, &evidence.aws) {
        findings.add(finding);
    }
}

const SESSION: Code = Code::new(300);
const OTHER: Code = Code::new(500);
