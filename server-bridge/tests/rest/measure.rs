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
