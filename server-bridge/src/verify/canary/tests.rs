use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::{Json, Router};
use link::http::client::ApiFlags;

use super::super::clean::clean;
use super::*;

fn options() -> VerifyOptions {
    VerifyOptions {
        sample: 10,
        canary: Some("canary".into()),
        namespace: "default".into(),
        within: Duration::from_secs(1),
        except: std::collections::BTreeSet::new(),
    }
}

fn canary(consumer: &str) -> Value {
    json!({
        "id": format!("canary-{consumer}"), "version": 3, "consumer_name": consumer,
        "manifests": [{
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"consumer": consumer},
            "metadata": {"name": "canary", "labels": {MARK: MARKED}},
        }],
    })
}

/// An API with these bundles, which refuses to write `canary-refused`; the writes that came.
async fn api(bundles: Vec<Value>) -> (ApiClient, Arc<Mutex<Vec<String>>>) {
    let writes = Arc::new(Mutex::new(Vec::new()));
    let (bundles, noted) = (Arc::new(bundles), writes.clone());
    let answer = move |request: Request| {
        let (bundles, noted) = (bundles.clone(), noted.clone());
        async move {
            let (method, uri) = (request.method().to_string(), request.uri().to_string());
            if method == "GET" && uri.contains("/consumers") {
                return (
                    StatusCode::OK,
                    Json(json!({"items": [{"name": "a"}, {"name": "b"}, {"name": "refused"}]})),
                );
            }
            if method == "GET" {
                let asked = |bundle: &&Value| {
                    uri.contains("like") || uri.contains(bundle["id"].as_str().unwrap())
                };
                let items: Vec<&Value> = bundles.iter().filter(asked).collect();
                return (StatusCode::OK, Json(json!({"items": items})));
            }
            noted.lock().unwrap().push(format!("{method} {uri}"));
            match uri.contains("refused") {
                true => (StatusCode::FORBIDDEN, Json(json!({"reason": "not you"}))),
                false => (StatusCode::OK, Json(json!({"version": 4}))),
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flags = ApiFlags {
        api: Some(format!("http://{}", listener.local_addr().unwrap())),
        ..ApiFlags::default()
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (flags.client().unwrap(), writes)
}

/// What came of canaries to these.
async fn sent(api: &ApiClient, seen: &[(String, SeenAgent)]) -> Vec<CanaryOutcome> {
    let (memory, under_way) = (Memory::default(), UnderWay::default());
    let (sent, ended) = send(api, &options(), seen, &memory, &under_way).await;
    ended.unwrap();
    sent
}

/// What was found while canaries were taken away.
async fn cleaned(api: &ApiClient) -> Vec<Finding> {
    let mut findings = Vec::new();
    let under_way = UnderWay::default();
    let done = clean(api, &options(), &under_way, &mut findings).await;
    done.unwrap();
    findings
}

#[test]
fn only_what_a_verifier_made_is_a_canary() {
    let ours = |change: fn(&mut Value)| {
        let mut bundle = canary("a");
        change(&mut bundle);
        is_ours(&serde_json::from_value(bundle).unwrap(), &options(), "a")
    };
    assert!(ours(|_| {}));
    for change in [
        (|bundle| bundle["consumer_name"] = "b".into()) as fn(&mut Value),
        |bundle| bundle["manifests"] = json!([]),
        |bundle| bundle["manifests"] = json!([bundle["manifests"][0], bundle["manifests"][0]]),
        |bundle| bundle["manifests"][0]["kind"] = "Secret".into(),
        |bundle| bundle["manifests"][0]["metadata"]["name"] = "b".into(),
        |bundle| bundle["manifests"][0]["metadata"]["labels"] = json!({}),
        |bundle| bundle["manifests"][0]["data"] = json!({}),
    ] {
        assert!(!ours(change));
    }
}

#[tokio::test]
async fn somebody_else_s_bundle_is_neither_changed_nor_deleted() {
    let mut foreign = canary("a");
    foreign["manifests"][0]["data"] = json!({"theirs": "1"});
    let (api, writes) = api(vec![foreign]).await;
    let seen = [("a".to_owned(), SeenAgent::default())];
    let sent = sent(&api, &seen).await;
    let note = sent[0].note.as_ref().unwrap();
    assert!(note.next.contains("another --canary"), "{note:?}");
    let findings = cleaned(&api).await;
    assert!(
        findings[0].seen.contains("`canary-a` is somebody else's"),
        "{findings:?}"
    );
    assert_eq!(*writes.lock().unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_refusal_of_one_cluster_s_canary_leaves_the_others() {
    let (api, writes) = api(vec![canary("a"), canary("refused")]).await;
    let seen = ["refused", "a"].map(|name| (name.to_owned(), SeenAgent::default()));
    let mut sent = sent(&api, &seen).await;
    sent.sort_by(|one, other| one.consumer.cmp(&other.consumer));
    assert!(sent[0].is_counted() && sent[0].is_under_way());
    let note = sent[1].note.as_ref().unwrap();
    assert!(
        note.seen.contains("not you") && !sent[1].is_under_way(),
        "{note:?}"
    );
    assert_eq!(writes.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_canary_that_may_not_be_deleted_leaves_the_others_and_is_named() {
    let (api, writes) = api(vec![canary("refused"), canary("a")]).await;
    let findings = cleaned(&api).await;
    let named = "Canary `canary-refused` was not deleted";
    let refused: Vec<_> = findings
        .iter()
        .filter(|it| it.seen.contains(named))
        .collect();
    assert!(
        refused.len() == 1 && refused[0].seen.contains("not you"),
        "{findings:?}"
    );
    let tried = |id: &str| {
        writes
            .lock()
            .unwrap()
            .iter()
            .any(|write| write.contains(id))
    };
    assert!(tried("canary-a") && tried("canary-refused"));
}

#[test]
fn a_canary_that_was_taken_away_is_no_violation() {
    let mut deleted = canary("a");
    deleted["deleted_at"] = "2026-11-29T10:00:00Z".into();
    let deleted: SeenBundle = serde_json::from_value(deleted).unwrap();
    for (bundles, is_gone) in [(vec![], false), (vec![deleted], true)] {
        let mut outcome = CanaryOutcome {
            consumer: "a".into(),
            acknowledged: Some(("canary-a".into(), 3)),
            started: Some(Instant::now()),
            ..CanaryOutcome::default()
        };
        judge(&mut outcome, &bundles, &options(), &Clock::system());
        assert!(outcome.note.is_some() && outcome.violations.is_empty());
        assert!(!outcome.is_under_way() && !outcome.is_counted());
        assert_eq!(outcome.is_gone, is_gone);
    }
}
