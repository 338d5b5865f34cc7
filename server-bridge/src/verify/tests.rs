use link::http::client::ApiFlags;

use super::*;

fn verifier() -> Verifier {
    let flags = ApiFlags {
        api: Some("http://127.0.0.1:1".into()),
        ..ApiFlags::default()
    };
    let options = VerifyOptions {
        sample: 1,
        canary: Some("canary".into()),
        namespace: "default".into(),
        within: Duration::from_secs(1),
        except: BTreeSet::new(),
    };
    Verifier::new(flags.client().unwrap(), options, Clock::system())
}

/// The violations of canaries after a round in which this came of them.
fn after(verifier: &mut Verifier, outcomes: Vec<CanaryOutcome>) -> u64 {
    let (mut round, mut found) = (Round::default(), Vec::new());
    for outcome in outcomes {
        verifier.take(outcome, &mut round, &mut found);
    }
    verifier.keep(found);
    verifier.conclude(&mut round);
    round.violations[&CANARY]
}

fn outcome(consumer: &str, is_back: bool) -> CanaryOutcome {
    let violation = || Violation {
        subject: consumer.into(),
        finding: Finding::error(CANARY, "late"),
    };
    let mut outcome = CanaryOutcome::default();
    outcome.consumer = consumer.into();
    outcome.acknowledged = Some((format!("canary-{consumer}"), 1));
    outcome.violations = (!is_back).then(violation).into_iter().collect();
    outcome
}

#[tokio::test]
async fn a_canary_that_is_late_stays_found_until_the_next_one_of_its_cluster() {
    let mut verifier = verifier();
    assert_eq!(after(&mut verifier, vec![outcome("a", false)]), 1);
    assert_eq!(after(&mut verifier, vec![outcome("b", true)]), 1);
    assert_eq!(after(&mut verifier, vec![]), 1);
    let mut untried = CanaryOutcome::default();
    untried.consumer = "a".into();
    assert_eq!(after(&mut verifier, vec![untried]), 1);
    assert_eq!(after(&mut verifier, vec![outcome("a", true)]), 0);
}

#[tokio::test]
async fn violations_of_one_invariant_leave_room_for_others_and_are_renewed() {
    let mut verifier = verifier();
    let found = |code, subject: usize, seen: &str| Violation {
        subject: subject.to_string(),
        finding: Finding::error(code, seen),
    };
    let canaries = (0..=MOST_KEPT).map(|subject| found(CANARY, subject, "late"));
    verifier.keep(canaries.chain([found(LEDGER, 0, "back")]).collect());
    verifier.keep(vec![found(CANARY, 0, "later")]);
    let kept = |code| verifier.kept.keys().filter(|(of, _)| *of == code).count();
    assert_eq!((kept(CANARY), kept(LEDGER)), (MOST_KEPT, 1));
    assert_eq!(verifier.kept[&(CANARY, "0".into())].1.seen, "later");
}
