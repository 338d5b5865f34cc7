//! Callers and what they may do, as a Kubernetes API says; here one that a test scripts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use server_bridge::callers::{Authorization, CallersConfig, Cluster};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::bridge::{Bridge, Place, bundle, config, told, until};

/// Knows ann's token, and lets her do what is listed.
struct Api {
    asked: Asked,
    serving: AbortOnDropHandle<()>,
    kubeconfig: std::path::PathBuf,
}

/// What the API was asked, and a gate before its answers about tokens that begin with `slow`.
#[derive(Clone)]
struct Asked {
    reviews: Arc<Mutex<Vec<Value>>>,
    open: Arc<Semaphore>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            reviews: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        }
    }
}

const ALLOWED: &[(&str, &str)] = &[
    ("/api/maestro/v1/consumers", "get"),
    ("/api/maestro/v1/consumers", "post"),
    ("/api/maestro/v1/resource-bundles", "post"),
    ("/api/maestro/v1/resource-bundles/b1", "delete"),
    ("/api/maestro/v1/consumers/c1", "delete"),
    ("/sources/maestro", "pub"),
];

impl Api {
    async fn start(place: &Place) -> Self {
        let asked = Asked::default();
        let router = Router::new()
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(token))
            .route(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                post(access),
            )
            .with_state(asked.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        Self {
            asked,
            serving: AbortOnDropHandle::new(serving),
            kubeconfig: place.write("kubeconfig", &kubeconfig.to_string()),
        }
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.reviews.lock().unwrap().clone()
    }

    fn config(&self, audiences: &[&str], authorized: bool) -> CallersConfig {
        let cluster = Cluster::Kubeconfig(self.kubeconfig.clone());
        let audiences = audiences.iter().map(|&name| name.to_owned()).collect();
        CallersConfig {
            reviews: Some((cluster.clone(), audiences)),
            // No review is given up because the machine is busy.
            reviewed_within: Duration::from_secs(60),
            authorization: if authorized {
                Authorization::Reviews(cluster)
            } else {
                Authorization::Everything
            },
            ..config()
        }
    }
}

async fn token(State(asked): State<Asked>, Json(mut review): Json<Value>) -> Response {
    if review["spec"]["token"] == "unasked" {
        return forbidden();
    }
    if let Some(failures) = failures(&review["spec"]) {
        let mut reviews = asked.reviews.lock().unwrap();
        reviews.push(review["spec"].clone());
        if reviews.len() <= failures {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        review["status"] = json!({"authenticated": true, "user": {"username": "ann"}});
        return Json(review).into_response();
    }
    review["status"] = match review["spec"]["token"].as_str() {
        Some("anns") => json!({
            "authenticated": true,
            "user": {"username": "ann", "groups": ["dev"]},
            "audiences": review["spec"]["audiences"],
        }),
        Some("olgas") => json!({"authenticated": true, "user": {"username": "olga"}}),
        Some("careless") => json!({"authenticated": true, "user": {"username": "ann"}}),
        _ => json!({"authenticated": false, "error": "invalid bearer token"}),
    };
    asked.reviews.lock().unwrap().push(review["spec"].clone());
    if review["spec"]["token"]
        .as_str()
        .is_some_and(|token| token.starts_with("slow"))
    {
        let _never = asked.open.acquire().await;
    }
    Json(review).into_response()
}

/// How many reviews of the token `fails-N-times` fail.
fn failures(spec: &Value) -> Option<usize> {
    let token = spec["token"].as_str()?;
    let number = token.strip_prefix("fails-")?.strip_suffix("-times")?;
    number.parse().ok()
}

/// What a bridge without the ClusterRole `system:auth-delegator` is answered.
fn forbidden() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
        "message": "tokenreviews.authentication.k8s.io is forbidden: User \"system:serviceaccount:private:bridge\" cannot",
    });
    (StatusCode::FORBIDDEN, Json(status)).into_response()
}

async fn access(State(asked): State<Asked>, Json(mut review): Json<Value>) -> Json<Value> {
    let spec = &review["spec"];
    let about = &spec["nonResourceAttributes"];
    let allowed = spec["user"] == "ann"
        && spec["groups"] == json!(["dev", "system:authenticated"])
        && ALLOWED
            .iter()
            .any(|(path, verb)| about["path"] == *path && about["verb"] == *verb)
        || spec["user"] == "olga";
    asked.reviews.lock().unwrap().push(spec.clone());
    review["status"] = json!({"allowed": allowed});
    Json(review)
}

#[tokio::test]
async fn who_sends_tokens_that_nobody_knows_makes_no_other_address_wait() {
    let place = Place::new();
    let api = Api::start(&place).await;
    let bridge = Arc::new(Bridge::start(&place, api.config(&[], false)).await);
    let asked = || api.asked().len();
    // Each takes a while to build, and what is asked then has its time.
    let near = Client::new();
    let elsewhere = Client::builder().local_address(std::net::IpAddr::from([127, 0, 0, 2]));
    let elsewhere = elsewhere.build().unwrap();
    // More than all reviews that may be under way at once, and none is answered before the gate opens.
    let junk: Vec<_> = (0..40)
        .map(|number| {
            let (bridge, near) = (Arc::clone(&bridge), near.clone());
            tokio::spawn(async move {
                let token = format!("slow{number}");
                bridge.with_token(&near, &token).await.0
            })
        })
        .collect();
    until(async || asked(), |asked| *asked == 8).await;
    assert_eq!(bridge.with_token(&elsewhere, "anns").await.0, 200);
    assert_eq!(asked(), 9);
    // Who is known already is not asked about, wherever it calls from.
    assert_eq!(bridge.with_token(&near, "anns").await.0, 200);
    api.asked.open.close();
    for answer in junk {
        assert_eq!(answer.await.unwrap(), 401);
    }
    assert_eq!(asked(), 41);
    // Nor about one that was refused.
    assert_eq!(bridge.with_token(&near, "slow0").await.0, 401);
    assert_eq!(asked(), 41);
}

#[tokio::test]
async fn a_reviewed_token_is_known_for_a_while_and_a_refused_one_is_told_why() {
    let place = Place::new();
    let api = Api::start(&place).await;
    let bridge = Bridge::start(&place, api.config(&["bridge"], false)).await;
    let client = Client::new();
    for _ in 0..3 {
        assert_eq!(bridge.with_token(&client, "anns").await.0, 200);
    }
    let asked = api.asked();
    assert_eq!(asked, [json!({"token": "anns", "audiences": ["bridge"]})]);
    let answer = bridge.with_token(&client, "bobs").await;
    assert_eq!(
        told(&answer),
        "401 maestro-15: the bearer token is refused: the Kubernetes API says: invalid bearer token"
    );
    let answer = bridge.with_token(&client, "careless").await;
    assert_eq!(
        told(&answer),
        "401 maestro-15: the bearer token is refused: it is for another audience, expected is `bridge`"
    );
}

#[tokio::test]
async fn an_api_that_is_away_lets_nobody_in_and_says_so() {
    let place = Place::new();
    let api = Api::start(&place).await;
    let bridge = Bridge::start(&place, api.config(&[], false)).await;
    api.serving.abort();
    let answer = until(
        async || bridge.with_token(&Client::new(), "anns").await,
        |answer| answer.0 != 200,
    )
    .await;
    assert_eq!(answer.0, 503, "{answer:?}");
    // Whoever asks is not known: where the API is, is not for it to know.
    assert_eq!(
        told(&answer),
        "503 maestro-9: a review of the token cannot be had of the Kubernetes API: it cannot be asked now; try again later"
    );
}

#[tokio::test]
async fn a_review_that_fails_is_asked_for_three_times() {
    for (failures, code) in [(2, 200), (3, 503)] {
        let place = Place::new();
        let api = Api::start(&place).await;
        let bridge = Bridge::start(&place, api.config(&[], false)).await;
        let token = format!("fails-{failures}-times");
        let answer = bridge.with_token(&Client::new(), &token).await;
        assert_eq!(answer.0, code, "{answer:?}");
        assert_eq!(api.asked().len(), 3);
    }
}

#[tokio::test]
async fn an_api_that_does_not_let_the_bridge_ask_lets_nobody_in_and_its_words_stay_in_the_log() {
    let place = Place::new();
    let api = Api::start(&place).await;
    let bridge = Bridge::start(&place, api.config(&[], false)).await;
    let answer = bridge.with_token(&Client::new(), "unasked").await;
    assert_eq!(
        told(&answer),
        "503 maestro-9: a review of the token cannot be had of the Kubernetes API: this server may not ask there; try again \
         later"
    );
}

#[tokio::test]
async fn a_consumer_with_everybodys_bundles_is_removed_only_by_who_may_publish_for_every_source() {
    let place = Place::new();
    let api = Api::start(&place).await;
    let bridge = Bridge::start(&place, api.config(&[], true)).await;
    let client = Client::new();
    let send = async |token: &str, method: Method, path: &str, body: Option<Value>| {
        let answer = bridge.send(&client, Some(token), method, path, body).await;
        answer.unwrap()
    };
    let consumer = || Some(json!({"name": "c1"}));
    let made = send("anns", Method::POST, "/consumers", consumer()).await;
    assert_eq!(made.0, 201, "{made:?}");
    let path = "/consumers/c1?force=true&confirm=c1";
    let refused = send("anns", Method::DELETE, path, None).await;
    assert_eq!(
        told(&refused),
        "403 maestro-4: `ann` may not `pub` the path `/sources/*`: give it a ClusterRole with this nonResourceURL and verb"
    );
    // One without bundles is nobody's.
    let gone = send("anns", Method::DELETE, "/consumers/c1", None).await;
    assert_eq!(gone.0, 204, "{gone:?}");
    let made = send("anns", Method::POST, "/consumers", consumer()).await;
    assert_eq!(made.0, 201, "{made:?}");
    let gone = send("olgas", Method::DELETE, path, None).await;
    assert_eq!(gone.0, 204, "{gone:?}");
}

#[tokio::test]
async fn access_is_reviewed_by_path_and_verb_and_changes_by_their_source() {
    let place = Place::new();
    let api = Api::start(&place).await;
    let bridge = Bridge::start(&place, api.config(&[], true)).await;
    let client = Client::new();
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let answer = bridge.send(&client, Some("anns"), method, path, body).await;
        answer.unwrap()
    };
    let consumer = json!({"name": "c1"});
    let made = send(Method::POST, "/consumers", Some(consumer)).await;
    assert_eq!(made.0, 201, "{made:?}");
    let made = send(Method::POST, "/resource-bundles", Some(bundle("b1", "c1"))).await;
    assert_eq!(made.0, 201, "{made:?}");
    let gone = send(Method::DELETE, "/resource-bundles/b1", None).await;
    assert_eq!(gone.0, 204, "{gone:?}");
    let about: Vec<Value> = api
        .asked()
        .iter()
        .map(|spec| spec["nonResourceAttributes"].clone())
        .filter(|about| !about.is_null())
        .collect();
    let question = |(path, verb): &(&str, &str)| json!({"path": path, "verb": verb});
    let expected: Vec<Value> = [ALLOWED[1], ALLOWED[2], ALLOWED[5], ALLOWED[3]]
        .iter()
        .map(question)
        .collect();
    assert_eq!(about, expected);
    let refused = send(Method::GET, "/resource-bundles", None).await;
    assert_eq!(
        told(&refused),
        "403 maestro-4: `ann` may not `get` the path `/api/maestro/v1/resource-bundles`: give it a ClusterRole with \
         this nonResourceURL and verb"
    );
}
