use std::sync::Arc;

use http::{Method, Response, StatusCode};
use kube::client::Body;
use serde_json::json;
use tower::{BoxError, service_fn};

use super::*;
use crate::applier::EXECUTOR_RETRY;

type Asked = Arc<Mutex<Vec<Value>>>;

/// An API server that answers reviews by `rule(verb, name)` and takes note of them.
fn reviews(rule: fn(&str, &str) -> bool) -> (Executor, Asked) {
    let asked = Asked::default();
    let service = service_fn({
        let asked = asked.clone();
        move |request: http::Request<Body>| {
            let asked = asked.clone();
            async move {
                assert_eq!(request.method(), Method::POST);
                let body = request.into_body().collect_bytes().await?;
                let mut review: Value = serde_json::from_slice(&body)?;
                let attributes = &review["spec"]["resourceAttributes"];
                let (verb, name) = (&attributes["verb"], &attributes["name"]);
                let allowed = rule(
                    verb.as_str().unwrap_or_default(),
                    name.as_str().unwrap_or_default(),
                );
                asked.lock().unwrap().push(review["spec"].clone());
                review["status"] = json!({ "allowed": allowed });
                let response = Response::builder().status(StatusCode::CREATED);
                Ok::<_, BoxError>(response.body(Body::from(review.to_string().into_bytes()))?)
            }
        }
    });
    (Executor::new(Client::new(service, "default")), asked)
}

fn map(name: &str) -> ObjectRef {
    ObjectRef {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "shop".into(),
        name: name.into(),
    }
}

fn account() -> ServiceAccount {
    ServiceAccount {
        namespace: "shop".into(),
        name: "deployer".into(),
    }
}

async fn check(
    executor: &Executor,
    name: &str,
    owned: bool,
    now: Instant,
) -> Result<(), ApplierError> {
    let request = AccessRequest {
        account: &account(),
        object: &map(name),
        resource: "configmaps",
        owned,
        manifest: &json!({}),
    };
    executor.check(request, now).await
}

#[tokio::test]
async fn review_is_about_the_account_with_its_groups() {
    let (executor, asked) = reviews(|_, _| true);
    check(&executor, "a", true, Instant::now()).await.unwrap();
    let asked = asked.lock().unwrap();
    let verbs: Vec<_> = asked
        .iter()
        .map(|spec| spec["resourceAttributes"]["verb"].clone())
        .collect();
    assert_eq!(verbs, ["create", "update", "patch", "get", "delete"]);
    assert_eq!(asked[0]["user"], "system:serviceaccount:shop:deployer");
    assert_eq!(
        asked[0]["groups"],
        json!([
            "system:serviceaccounts",
            "system:authenticated",
            "system:serviceaccounts:shop"
        ])
    );
}

#[tokio::test]
async fn hundred_objects_of_one_kind_cost_as_many_reviews_as_one() {
    let (executor, asked) = reviews(|_, _| true);
    let now = Instant::now();
    for object in 0..100 {
        let name = format!("map-{object}");
        check(&executor, &name, true, now).await.unwrap();
    }
    assert_eq!(asked.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn rights_to_one_name_are_no_rights_to_another() {
    let (executor, _) = reviews(|_, name| name == "a");
    let now = Instant::now();
    check(&executor, "a", false, now).await.unwrap();
    let refused = check(&executor, "b", false, now).await.unwrap_err();
    assert_eq!(refused.kind, ApplierErrorKind::NotAllowed);
}

#[tokio::test]
async fn delete_matters_only_for_an_owned_object() {
    let (executor, _) = reviews(|verb, _| verb != "delete");
    let now = Instant::now();
    check(&executor, "a", false, now).await.unwrap();
    check(&executor, "a", true, now).await.unwrap_err();
}

#[tokio::test]
async fn refusal_has_the_words_of_the_go_agent() {
    let (executor, _) = reviews(|_, _| false);
    let refused = check(&executor, "a", true, Instant::now())
        .await
        .unwrap_err();
    assert_eq!(
        refused.message,
        "not allowed to apply the resource  configmaps, shop a, will try again in 1m0s"
    );
    assert_eq!(EXECUTOR_RETRY, Duration::from_secs(60));
}

#[tokio::test]
async fn yes_is_asked_for_again_after_its_time() {
    let (executor, asked) = reviews(|_, _| true);
    let now = Instant::now();
    for (later, reviews) in [(Duration::ZERO, 4), (REMEMBERED / 2, 4), (REMEMBERED, 8)] {
        check(&executor, "a", false, now + later).await.unwrap();
        assert_eq!(asked.lock().unwrap().len(), reviews);
    }
}

#[tokio::test]
async fn refusal_makes_every_yes_of_the_account_be_asked_for_again() {
    let (executor, asked) = reviews(|_, name| name == "a");
    let now = Instant::now();
    check(&executor, "a", false, now).await.unwrap();
    check(&executor, "b", false, now).await.unwrap_err();
    let before = asked.lock().unwrap().len();
    check(&executor, "a", false, now).await.unwrap();
    assert!(asked.lock().unwrap().len() > before);
}

#[tokio::test]
async fn answers_in_memory_are_bounded() {
    let (executor, _) = reviews(|_, name| !name.is_empty());
    let now = Instant::now();
    for object in 0..300 {
        let name = format!("map-{object}");
        check(&executor, &name, false, now).await.unwrap();
    }
    assert!(executor.allowed().len() <= CAPACITY);
}
