use std::sync::{Arc, Mutex};

use axum::http::{Method, StatusCode, Uri};
use axum::{Json, Router};
use link::fault::Severity;
use link::http::client::ApiFlags;
use serde_json::{Value, json};

use super::*;

fn verifier() -> Verifier {
    of("http://127.0.0.1:1".into())
}

fn of(api: String) -> Verifier {
    let flags = ApiFlags {
        api: Some(api),
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

/// Of an API that answers so.
async fn answered(
    answer: impl Fn(Method, String) -> (StatusCode, Value) + Clone + Send + Sync + 'static,
) -> Verifier {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(move |method: Method, uri: Uri| {
        let (status, body) = answer(method, uri.to_string());
        async move { (status, Json(body)) }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    of(api)
}

fn severity(findings: &[Finding], words: &str) -> Option<Severity> {
    let found = findings.iter().find(|finding| finding.seen.contains(words));
    found.map(|finding| finding.severity)
}

/// What a round says of a region with so many clusters.
async fn with_clusters(clusters: usize) -> (Round, Verifier) {
    let mut verifier = answered(move |_, uri| {
        let page = uri.split_once("&page=").map(|(_, page)| page);
        let Some(page) = page.and_then(|page| page.parse::<usize>().ok()) else {
            // Nobody is there when it is looked at.
            return (StatusCode::OK, json!({"items": []}));
        };
        let on_page = (page - 1) * 500..clusters.min(page * 500);
        let items: Vec<_> = on_page
            .map(|number| json!({"name": format!("c{number:05}")}))
            .collect();
        (StatusCode::OK, json!({"items": items}))
    })
    .await;
    verifier.options.canary = None;
    let round = verifier.round().await;
    assert!(round.looked, "{:?}", round.findings);
    (round, verifier)
}

#[tokio::test]
async fn one_cluster_more_than_are_looked_at_is_told_as_a_warning() {
    let words = "There are more than 50000 clusters";
    let (round, _) = with_clusters(look::MOST_CONSUMERS).await;
    assert_eq!(
        severity(&round.findings, words),
        None,
        "{:?}",
        round.findings
    );
    let (round, mut verifier) = with_clusters(look::MOST_CONSUMERS + 1).await;
    let told = severity(&round.findings, words);
    assert_eq!(told, Some(Severity::Warning), "{:?}", round.findings);
    // The last by name is what is left out, and the next rounds go on without it.
    verifier.options.sample = 1;
    verifier.after = Some("c49998".into());
    verifier.round().await;
    assert_eq!(verifier.after.as_deref(), Some("c49999"));
    verifier.round().await;
    assert_eq!(verifier.after.as_deref(), Some("c00000"));
}

/// What the API of a region of one cluster has, and whether it answers reads of canaries that are waited for.
#[derive(Clone, Default)]
struct Region(Arc<Mutex<(Vec<Value>, bool)>>);

impl Region {
    fn answer(&self, method: &Method, uri: &str) -> (StatusCode, Value) {
        let mut region = self.0.lock().unwrap();
        let (bundles, is_away) = &mut *region;
        if *method == Method::POST {
            bundles.push(json!({"id": "canary-a", "version": 7, "consumer_name": "a"}));
            *is_away = true;
            return (StatusCode::CREATED, json!({"version": 7}));
        }
        if uri.contains("/consumers") {
            return (
                StatusCode::OK,
                json!({"items": [{"name": "a", "presence": {"state": "idle"}}]}),
            );
        }
        match *is_away {
            true => (StatusCode::BAD_GATEWAY, json!({})),
            false => (StatusCode::OK, json!({"items": bundles})),
        }
    }
}

#[tokio::test]
async fn a_canary_that_was_acknowledged_before_the_api_went_away_is_missed_when_it_is_back() {
    let region = Region::default();
    let asked = region.clone();
    let mut verifier = answered(move |method, uri| asked.answer(&method, &uri)).await;
    let round = verifier.round().await;
    assert!(!round.looked);
    let left = "Canaries that were on their way then: `canary-a`";
    assert!(
        severity(&round.findings, left).is_some(),
        "{:?}",
        round.findings
    );
    assert_eq!(verifier.memory.canary("a"), Some(7));
    assert_eq!(round.checked.get(&CANARY), None);
    // What the API has acknowledged is lost meanwhile.
    *region.0.lock().unwrap() = (Vec::new(), false);
    let round = verifier.round().await;
    assert_eq!(round.violations[&ACKNOWLEDGED], 1, "{:?}", round.findings);
}

#[tokio::test]
async fn who_cannot_take_canaries_away_says_so_as_a_finding() {
    let mut verifier = verifier();
    let findings = verifier.clean().await;
    let told = severity(&findings, "connect to `http://127.0.0.1:1`");
    assert_eq!(told, Some(Severity::Error), "{findings:?}");
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
