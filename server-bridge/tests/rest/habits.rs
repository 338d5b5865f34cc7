//! Habits of HTTP clients, Go's among them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn a_slash_at_the_end_and_any_accept_header_change_nothing() {
    let server = Server::with_consumer().await;
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b1")))
        .await;
    for path in [
        "/consumers",
        "/consumers/cluster1",
        "/resource-bundles",
        "/resource-bundles/b1",
        "/errors",
    ] {
        let plain = server.get(path).await;
        assert_eq!(server.get(&format!("{path}/")).await, plain);
        for accept in [
            "application/json",
            "*/*",
            "text/html,application/xhtml+xml",
            "application/yaml",
        ] {
            let request = server.client.get(format!("{}{path}", server.base));
            let response = request.header("accept", accept).send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.json::<Value>().await.unwrap(), plain);
        }
    }
    let (status, _) = server
        .send(Method::GET, "/resource-bundles/?size=65500", None)
        .await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn one_connection_carries_request_after_request_also_after_head_204_and_errors() {
    let server = Server::with_consumer().await;
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b1")))
        .await;
    let address = server
        .base
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap();
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    for (line, status, body) in [
        ("HEAD /api/maestro/v1/resource-bundles", "200", false),
        ("HEAD /api/maestro/v1/resource-bundles/b1", "200", false),
        ("GET /api/maestro/v1/resource-bundles/none", "404", true),
        ("DELETE /api/maestro/v1/resource-bundles/b1", "204", false),
        ("HEAD /api/maestro/v1/consumers/none", "404", false),
        ("GET /api/maestro/v1/consumers/cluster1", "200", true),
    ] {
        let request =
            format!("{line} HTTP/1.1\r\nhost: {address}\r\naccept-encoding: identity\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(
            head.starts_with(&format!("http/1.1 {status} ")),
            "{line}: {head}"
        );
        assert!(!head.contains("connection: close"), "{line}: {head}");
        if body {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap_or_else(|| panic!("{head}")).parse().unwrap();
            let mut body = vec![0; length];
            connection.read_exact(&mut body).await.unwrap();
            serde_json::from_slice::<Value>(&body).unwrap();
        }
    }
}

#[tokio::test]
async fn who_takes_gzip_gets_it_and_no_other_does() {
    let server = Server::with_consumer().await;
    for number in 0..10 {
        server
            .send(
                Method::POST,
                "/resource-bundles",
                Some(bundle(&format!("b{number}"))),
            )
            .await;
    }
    let url = format!("{}/resource-bundles", server.base);
    for (accept, encoded) in [
        ("gzip", true),
        ("identity", false),
        ("deflate, gzip;q=0.5", true),
    ] {
        let response = server
            .client
            .get(&url)
            .header("accept-encoding", accept)
            .send()
            .await
            .unwrap();
        let encoding = response.headers().get("content-encoding").cloned();
        let vary = response
            .headers()
            .get_all("vary")
            .iter()
            .any(|vary| vary.to_str().unwrap().contains("encoding"));
        assert!(vary, "{:?}", response.headers());
        let body = response.bytes().await.unwrap();
        assert_eq!(
            encoding.is_some_and(|encoding| encoding == "gzip"),
            encoded,
            "{accept}"
        );
        assert_eq!(body.starts_with(&[0x1f, 0x8b]), encoded);
    }
}

#[tokio::test]
async fn labels_of_a_consumer_are_replaced_as_a_whole() {
    let server = Server::with_consumer().await;
    let relabelled = json!({"labels": {"zone": "a"}});
    let (status, answer) = server
        .send(Method::PATCH, "/consumers/cluster1", Some(relabelled))
        .await;
    assert_eq!(
        (status, &answer["labels"]),
        (StatusCode::OK, &json!({"zone": "a"}))
    );
}

#[tokio::test]
async fn no_cache_may_keep_an_answer_whatever_became_of_the_request() {
    let server = Server::with_consumer().await;
    let url = |path: &str| format!("{}{path}", server.base);
    let uncached = |answer: reqwest::Response, expected: u16| {
        assert_eq!(answer.status().as_u16(), expected, "{}", answer.url());
        let said: Vec<_> = answer.headers().get_all("cache-control").iter().collect();
        assert_eq!(said, ["no-store"], "{expected} {}", answer.url());
    };
    let bundle = bundle("b1").to_string();
    for (host, kind, body, expected) in [
        ("localhost", "application/json", bundle.as_str(), 201),
        ("localhost", "application/json", "{", 400),
        ("evil.example", "application/json", "{}", 403),
        ("localhost", "text/plain", "{}", 415),
    ] {
        let request = server.client.post(url("/resource-bundles"));
        let request = request.header("host", host).header("content-type", kind);
        let answer = request.body(body.to_owned()).send().await.unwrap();
        uncached(answer, expected);
    }
    for (method, path, expected) in [
        (Method::GET, "/resource-bundles", 200),
        (Method::GET, "/resource-bundles/b1", 200),
        (Method::HEAD, "/resource-bundles/b1", 200),
        (Method::GET, "/resource-bundles/b1/explain", 200),
        (Method::GET, "/overview", 200),
        (Method::GET, "/openapi", 200),
        (Method::DELETE, "/resource-bundles/b1", 204),
        (Method::GET, "/consumers/none", 404),
        (Method::GET, "/nothing", 404),
        (Method::PUT, "/consumers", 405),
    ] {
        let answer = server.client.request(method, url(path)).send().await;
        uncached(answer.unwrap(), expected);
    }
}
