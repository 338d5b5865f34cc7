//! What callers may not do: reach the API from a web page, send what cannot leave, take more than their share.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{Server, bundle};

#[tokio::test]
async fn a_web_page_can_neither_post_manifests_nor_read_them() {
    let server = Server::with_consumer().await;
    let url = format!("{}/resource-bundles", server.base);
    let post = |headers: &[(&'static str, &'static str)]| {
        let mut request = server.client.post(&url).body(bundle("b1").to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move {
            let response = request.send().await.unwrap();
            let status = response.status();
            (status, response.json::<Value>().await.unwrap())
        }
    };
    let json = ("content-type", "application/json");
    for (headers, expected, reason) in [
        (
            vec![],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the request body must be JSON: send it with `Content-Type: application/json`",
        ),
        (
            vec![("content-type", "text/plain")],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the request body must be JSON: send it with `Content-Type: application/json`",
        ),
        (
            vec![json, ("host", "evil.example:8000")],
            StatusCode::FORBIDDEN,
            "this server is not known as `evil.example:8000`; start it with `--api-host NAME` for each name it has",
        ),
        (
            vec![json, ("origin", "http://evil.example")],
            StatusCode::FORBIDDEN,
            "web pages of another origin may not use this API",
        ),
    ] {
        let (status, error) = post(&headers).await;
        assert_eq!((status, error["kind"].as_str()), (expected, Some("Error")));
        assert_eq!(error["reason"], reason);
    }
    let list = server.client.get(&url).header("host", "evil.example");
    assert_eq!(list.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(server.get("/resource-bundles").await["total"], 0);
    let same = server.base.strip_suffix("/api/maestro/v1").unwrap();
    let same = server.client.get(&url).header("origin", same);
    assert_eq!(same.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_no_client_could_read_or_no_broker_would_carry_is_refused_by_its_field() {
    let server = Server::with_consumer().await;
    let url = format!("{}/resource-bundles", server.base);
    let text = bundle("b1").to_string().replace("\"1\"", "[1.5, 1e999]");
    let request = server.client.post(&url).body(text);
    let response = request
        .header("content-type", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let error: Value = response.json().await.unwrap();
    assert_eq!(
        error["reason"],
        "number `1e999` at `manifests[0].data.k[1]` is beyond a 64-bit float"
    );
    let mut escaped = bundle("b1");
    escaped["metadata"] = json!({"annotations": {"a": "<".repeat(11_000)}});
    let refused = server
        .refused(Method::POST, "/resource-bundles", escaped)
        .await;
    assert!(
        refused.starts_with("400 maestro-8: metadata: is 66"),
        "{refused}"
    );
    assert!(refused.ends_with("at most 65535 can be sent"), "{refused}");
    // A change is measured as a creation is.
    server
        .send(Method::POST, "/resource-bundles", Some(bundle("b1")))
        .await;
    let change = json!({"version": 1, "metadata": {"annotations": {"a": "<".repeat(11_000)}}});
    let refused = server
        .refused(Method::PATCH, "/resource-bundles/b1", change)
        .await;
    assert!(refused.contains("metadata: is 66"), "{refused}");
    assert_eq!(server.get("/resource-bundles/b1").await["version"], 1);
}

#[tokio::test]
async fn idle_connections_past_the_cap_give_way_the_oldest_first() {
    let server = Server::bounded(4).await;
    let address = server.base.strip_prefix("http://").unwrap();
    let address = address.split('/').next().unwrap();
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let mut oldest = idle.remove(0);
    let closed = timeout(Duration::from_secs(20), oldest.read(&mut [0; 1])).await;
    assert_eq!(closed.unwrap().unwrap_or(0), 0);
    let stream = idle.last_mut().unwrap();
    let request =
        format!("GET /api/maestro HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_body_full_of_what_nobody_knows_is_answered_in_a_few_lines() {
    let server = Server::with_consumer().await;
    let unknown: serde_json::Map<String, Value> = (0..60_000)
        .map(|number| (format!("m{number}"), Value::Null))
        .collect();
    let mut inside = bundle("b1");
    inside["delete_option"] = Value::Object(unknown.clone());
    // Of the second one the size is wrong too.
    for (path, body, more) in [
        ("/consumers", Value::Object(unknown), 59_990),
        ("/resource-bundles", inside, 59_991),
    ] {
        let refused = server.refused(Method::POST, path, body).await;
        assert!(refused.contains("unknown field `m0`"), "{refused}");
        assert!(
            refused.ends_with(&format!("; and {more} more")),
            "{refused}"
        );
        assert!(refused.len() < 3000, "{}", refused.len());
    }
}

#[tokio::test]
async fn labels_of_a_consumer_are_kept_up_to_their_bytes_and_refused_one_past() {
    let server = Server::with_consumer().await;
    // 256 labels of 64 bytes, and one byte more.
    let labels = |last: usize| {
        let labels = (0..256).map(|number| {
            let length = if number == 255 { last } else { 60 };
            (format!("l{number:03}"), Value::from("v".repeat(length)))
        });
        Value::Object(labels.collect())
    };
    let past = "400 maestro-8: labels: have 16385 bytes together, at most 16384 are kept";
    let (most, more) = (labels(60), labels(61));
    let new = json!({"name": "cluster2", "labels": more});
    assert_eq!(server.refused(Method::POST, "/consumers", new).await, past);
    let new = json!({"name": "cluster2", "labels": most});
    let (status, _) = server.send(Method::POST, "/consumers", Some(new)).await;
    assert_eq!(status, StatusCode::CREATED);
    let change = json!({ "labels": more });
    let path = "/consumers/cluster1";
    assert_eq!(server.refused(Method::PATCH, path, change).await, past);
    let change = json!({ "labels": most });
    let (status, _) = server.send(Method::PATCH, path, Some(change)).await;
    assert_eq!(status, StatusCode::OK);
    let wrong = json!({"labels": {"a b": "c", "env": "p r", "n": 1}});
    assert_eq!(
        server.refused(Method::PATCH, path, wrong).await,
        "400 maestro-8: labels[n]: must be a string, not a number"
    );
}

#[tokio::test]
async fn half_a_surrogate_pair_is_no_json_in_what_callers_send() {
    let server = Server::with_consumer().await;
    let text = bundle("b1").to_string().replace("\"1\"", r#""\ud800""#);
    let url = format!("{}/resource-bundles", server.base);
    let request = server.client.post(&url).body(text);
    let response = request.header("content-type", "application/json");
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

/// Head and body of the next answer on this connection.
async fn answer(stream: &mut TcpStream) -> (String, Value) {
    let mut read = Vec::new();
    let (head, length) = loop {
        read.push(stream.read_u8().await.unwrap());
        if read.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8(read).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length = length.unwrap().parse().unwrap();
            break (head, length);
        }
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn who_is_refused_before_the_body_is_read_sees_why_and_may_send_the_next_request() {
    const MOST: usize = 2 * 1024 * 1024;
    let server = Server::start().await;
    let address = server.base.strip_prefix("http://").unwrap();
    let address = address.split('/').next().unwrap();
    let head = |host: &str, more: &str, length: usize| {
        format!(
            "POST /api/maestro/v1/consumers HTTP/1.1\r\nhost: {host}\r\n{more}content-length: {length}\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    let strange = ("evil.example", "HTTP/1.1 403 ");
    for ((host, status), length) in [
        (strange, 20_000),
        (("localhost", "HTTP/1.1 415 "), 20_000),
        (strange, MOST),
        (strange, MOST + 1),
    ] {
        // The head by itself, as clients with a buffer of their own write it.
        let head = head(host, "", length);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; length]).await.unwrap();
        let (head, error) = answer(&mut stream).await;
        assert!(head.starts_with(status), "{length}: {head}");
        assert_eq!(error["kind"], "Error");
        assert_eq!(
            head.contains("connection: close"),
            length > MOST,
            "{length}: {head}"
        );
    }
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    // Who asks first whether to send the body is told at once that it need not.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = head("evil.example", "expect: 100-continue\r\n", 20_000);
    stream.write_all(head.as_bytes()).await.unwrap();
    let (head, _) = answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert!(head.contains("connection: close"), "{head}");
}
