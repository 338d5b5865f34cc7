//! The status page as files, and the overview that it shows.

use reqwest::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, HeaderName, IF_NONE_MATCH,
    ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::server::{Server, bundle};

impl Server {
    async fn file(&self, path: &str, headers: &[(HeaderName, &str)]) -> Response {
        let root = self.base.strip_suffix("/api/maestro/v1").unwrap();
        let mut request = self.client.get(format!("{root}{path}"));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.send().await.unwrap()
    }
}

#[tokio::test]
async fn the_page_and_all_that_it_names_are_served_under_its_policy() {
    let server = Server::start().await;
    let page = server.file("/ui", &[]).await;
    let text = page.text().await.unwrap();
    let named = text.split('"').filter(|part| part.starts_with("/ui/"));
    let named: Vec<&str> = named.collect();
    assert!(named.len() > 10, "{named:?}");
    for path in ["/ui", "/ui/"].into_iter().chain(named) {
        let answer = server.file(path, &[]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let header = |name: HeaderName| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header(CONTENT_SECURITY_POLICY);
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "style-src 'self';",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header(X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(CACHE_CONTROL), "no-cache");
        assert!(
            header(CONTENT_TYPE).starts_with(match path.rsplit('.').next() {
                Some("js") => "text/javascript",
                Some("css") => "text/css",
                Some("svg") => "image/svg+xml",
                _ => "text/html",
            })
        );
        let again = server.file(path, &[(IF_NONE_MATCH, &header(ETAG))]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
    }
}

#[tokio::test]
async fn calls_of_the_page_pass_and_those_of_other_pages_do_not() {
    let server = Server::with_consumer().await;
    let port = server.base.split(':').nth(2).unwrap();
    let port = port.split('/').next().unwrap();
    let overview = "/api/maestro/v1/overview";
    let own = format!("http://127.0.0.1:{port}");
    for (path, headers, expected) in [
        (overview, vec![(ORIGIN, own.as_str())], StatusCode::OK),
        (overview, vec![], StatusCode::OK),
        ("/ui", vec![(ORIGIN, own.as_str())], StatusCode::OK),
        (
            overview,
            vec![(ORIGIN, "https://evil.example")],
            StatusCode::FORBIDDEN,
        ),
        (overview, vec![(ORIGIN, "null")], StatusCode::FORBIDDEN),
        (
            "/ui",
            vec![(ORIGIN, "https://evil.example")],
            StatusCode::FORBIDDEN,
        ),
        (
            "/ui",
            vec![(HOST, "rebound.example")],
            StatusCode::FORBIDDEN,
        ),
    ] {
        let answer = server.file(path, &headers).await;
        assert_eq!(answer.status(), expected, "{path} {headers:?}");
    }
}

#[tokio::test]
async fn the_overview_counts_everybody_and_shows_a_page_in_the_order_asked_for() {
    let server = Server::with_consumer().await;
    let other = json!({"name": "cluster2"});
    server.send(Method::POST, "/consumers", Some(other)).await;
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b")))
        .await;
    let overview = server.get("/overview?orderBy=name%20desc&size=1").await;
    assert_eq!(overview["items"][0]["name"], "cluster2");
    assert_eq!(
        (&overview["size"], &overview["total"]),
        (&json!(1), &json!(2))
    );
    let summary = json!({
        "consumers": 2, "well": 0, "stuck": 0, "away": 0, "never": 2, "bundles": 1,
        "presence": {"connected": 0, "idle": 0, "away": 0, "never": 0, "unknown": 2},
        "waiting_to_send": 1, "waiting_to_apply": 0, "waiting_for_available": 0,
        "waiting_for_deletion": 0, "oldest_waiting_since": "2026-08-01T10:00:00.1Z",
    });
    assert_eq!(overview["summary"], summary);
    let found = server.get("/overview?contains=ENV=PROD").await;
    assert_eq!(found["items"][0]["name"], "cluster1");
    assert_eq!((&found["total"], &found["summary"]), (&json!(1), &summary));
    let refused = server
        .refused(Method::GET, "/overview?orderBy=lag", json!(null))
        .await;
    assert!(refused.starts_with("400 maestro-21: "), "{refused}");
}
