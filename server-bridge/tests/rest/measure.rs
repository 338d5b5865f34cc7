//! Rates and times, to compare with the goals.

use std::time::Instant;

use reqwest::StatusCode;
use serde_json::json;

use crate::server::{Server, bundle, config_map};

/// Rates and times of the goals; run by hand: `cargo test -p server-bridge --test rest -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a promise"]
async fn measure_creating_and_listing() {
    let server = Server::with_consumer().await;
    let create = |count: usize, callers: usize, bytes: usize, prefix: &'static str| {
        let (client, url) = (
            server.client.clone(),
            format!("{}/resource-bundles", server.base),
        );
        async move {
            let started = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for caller in 0..callers {
                let (client, url) = (client.clone(), url.clone());
                tasks.spawn(async move {
                    for number in 0..count / callers {
                        let mut body = bundle(&format!("{prefix}-{caller}-{number}"));
                        body["manifests"] = json!([config_map("a", &"x".repeat(bytes))]);
                        let response = client.post(&url).json(&body).send().await.unwrap();
                        assert_eq!(response.status(), StatusCode::CREATED);
                    }
                });
            }
            tasks.join_all().await;
            count as f64 / started.elapsed().as_secs_f64()
        }
    };
    let mut report = format!(
        "create 3 KB, 1 caller: {:.0}/s\n",
        create(500, 1, 3_000, "one").await
    );
    report += &format!(
        "create 3 KB, 8 callers: {:.0}/s\n",
        create(2_000, 8, 3_000, "eight").await
    );
    report += &format!(
        "create 49 KB, 8 callers: {:.0}/s\n",
        create(400, 8, 49_000, "big").await
    );
    report += &format!(
        "create 25 KB, 8 callers: {:.0}/s\n",
        create(6_000, 8, 25_000, "list").await
    );
    for (what, query) in [
        ("first page of 100", "search=id%20like%20'list%25'"),
        ("all 6 000", "size=-1&search=id%20like%20'list%25'"),
        ("all, without content", "size=-1&fields=id,version"),
    ] {
        let started = Instant::now();
        let url = format!("{}/resource-bundles?{query}", server.base);
        let bytes = server
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        report += &format!("{what}: {:?}, {} bytes\n", started.elapsed(), bytes.len());
    }
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    report += memory
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or("");
    std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
}

/// Create and read for delivery while six clients search 1 000 bundles by 100 labels each; run by hand as above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a promise"]
async fn measure_creating_while_others_search() {
    let server = Server::with_consumer().await;
    let url = format!("{}/resource-bundles", server.base);
    for number in 0..1_000 {
        let mut body = bundle(&format!("s-{number}"));
        for label in 0..10 {
            body["metadata"]["labels"][format!("l{label}")] = json!(format!("v{number}"));
        }
        let response = server.client.post(&url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }
    let search: Vec<String> = (0..100).map(|n| format!("labels.x{n}='y'")).collect();
    let query = [("search", search.join(" or ")), ("size", "1".into())];
    let searching = reqwest::Url::parse_with_params(&url, &query).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    let searched = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..6 {
        let (client, url) = (server.client.clone(), searching.clone());
        let searched = searched.clone();
        tasks.spawn(async move {
            loop {
                let status = client.get(url.clone()).send().await.unwrap().status();
                let done = if status == StatusCode::OK {
                    1
                } else {
                    1_000_000
                };
                searched.fetch_add(done, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    let name = link::id::ConsumerName::new("cluster1").unwrap();
    let mut times = Vec::new();
    for number in 0..100 {
        let started = Instant::now();
        let body = bundle(&format!("t-{number}"));
        let response = server.client.post(&url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        server_bridge::store::Store::pending_heads(&server.store, &name, 50)
            .await
            .unwrap();
        times.push(started.elapsed());
    }
    times.sort();
    let report = format!(
        "create and read for delivery: median {:?}, worst {:?}; searches meanwhile: {}\n",
        times[50],
        times[99],
        searched.load(std::sync::atomic::Ordering::Relaxed)
    );
    std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
}
