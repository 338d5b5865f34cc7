use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::shutdown::Shutdown;
use crate::telemetry;

struct Served {
    address: SocketAddr,
    checks: Checks,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

async fn served() -> Served {
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = admin.local_addr();
    let (checks, registry, shutdown) = (Checks::new(), Registry::new(), Shutdown::manual());
    telemetry::register_build_info(&registry, "agent").unwrap();
    let task = tokio::spawn(admin.serve(checks.clone(), registry, shutdown.drain()));
    Served {
        address,
        checks,
        shutdown,
        task,
    }
}

impl Served {
    async fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(Duration::from_secs(20), exchange)
            .await
            .expect("an answer within 20 s");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

#[tokio::test]
async fn readyz_turns_200_when_the_last_check_passes() {
    let served = served().await;
    let (broker, store) = (served.checks.add("broker"), served.checks.add("store"));
    broker.ok();
    store.failing("connection refused");
    let (status, body) = served.get("/readyz", "").await;
    assert_eq!(status, 503);
    assert!(
        body.starts_with("broker ok\nstore failing: connection refused, since "),
        "{body}"
    );
    store.ok();
    assert_eq!(
        served.get("/readyz", "").await,
        (200, "broker ok\nstore ok\n".into())
    );
}

#[tokio::test]
async fn readyz_leaves_out_what_it_is_told_to_and_still_shows_it() {
    let served = served().await;
    let (broker, store) = (served.checks.add("broker"), served.checks.add("store"));
    let _second = served.checks.add("broker-1");
    broker.failing("no route to host");
    store.ok();
    let (status, body) = served.get("/readyz?exclude=broker", "").await;
    assert_eq!(status, 503, "only whole names: {body}");
    let both = "/readyz?exclude=broker&exclude=broker-1&exclude=broker-2";
    let (status, body) = served.get(both, "").await;
    assert_eq!(status, 200, "{body}");
    let lines: Vec<_> = body.lines().collect();
    assert!(lines[0].starts_with("broker failing: no route to host, since "));
    assert!(lines[0].ends_with("s (excluded)"), "{body}");
    assert_eq!(lines[1], "store ok");
    assert_eq!(lines[3], "no check `broker-2` to exclude");
    let (_, json) = served.get(&format!("{both}&format=json"), "").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["ready"], true);
    assert_eq!(json["checks"][0]["excluded"], true);
    assert_eq!(json["unknown"][0], "broker-2");

    store.failing("disk full");
    assert_eq!(served.get(both, "").await.0, 503);
    store.ok();
    let _pending = served.shutdown.drain().register("lanes");
    served.shutdown.trigger().request();
    let (status, body) = served.get(both, "").await;
    assert_eq!(status, 503, "who drains is not ready: {body}");
}

#[tokio::test]
async fn livez_stays_200_while_checks_fail_and_while_draining() {
    let served = served().await;
    let broker = served.checks.add("broker");
    broker.failing("no route to host");
    assert_eq!(served.get("/livez", "").await, (200, "ok\n".into()));
    let _pending = served.shutdown.drain().register("report");
    served.shutdown.trigger().request();
    assert_eq!(served.get("/livez", "").await.0, 200);
}

#[tokio::test]
async fn readyz_says_who_drains_and_the_port_closes_when_all_have() {
    let served = served().await;
    let pending = served.shutdown.drain().register("report");
    served.shutdown.trigger().request();
    let (status, body) = served.get("/readyz", "").await;
    let told = "shutdown failing: draining report, since ";
    assert!(status == 503 && body.starts_with(told), "{status} {body}");
    drop(pending);
    tokio::time::timeout(Duration::from_secs(20), served.task)
        .await
        .expect("the port closes within 20 s")
        .unwrap();
}

#[tokio::test]
async fn readyz_speaks_json_when_asked_by_query_or_header() {
    let served = served().await;
    let broker = served.checks.add("broker");
    broker.failing("refused");
    let asked = [
        served.get("/readyz?format=json", "").await,
        served.get("/readyz", "accept: application/json\r\n").await,
    ];
    for (status, body) in asked {
        assert_eq!(status, 503);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["ready"], false);
        assert_eq!(json["checks"][0]["name"], "broker");
        assert_eq!(json["checks"][0]["reason"], "refused");
    }
    let (_, text) = served
        .get("/readyz?format=text", "accept: application/json\r\n")
        .await;
    assert!(text.starts_with("broker failing: refused"), "{text}");
}

#[tokio::test]
async fn metrics_show_the_registry_and_unknown_paths_name_the_known_ones() {
    let served = served().await;
    let (status, body) = served.get("/metrics", "").await;
    assert_eq!(status, 200);
    assert!(body.contains("build_info{"), "{body}");
    assert_eq!(
        served.get("/healthz", "").await,
        (
            404,
            "not found; the paths here are /livez /readyz /metrics\n".into()
        )
    );
}

#[tokio::test]
async fn taken_port_is_an_error_with_the_address_and_a_hint() {
    let first = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Admin::bind(first.local_addr()).await.unwrap_err();
    let port = first.local_addr().port();
    assert_eq!(
        error.to_string(),
        format!("listen for health and metrics on `127.0.0.1:{port}`")
    );
    assert_eq!(
        error.hint().unwrap(),
        format!("stop the process that listens on port {port}, or choose another port")
    );
}

#[tokio::test]
async fn each_check_says_in_the_metrics_for_how_long_it_fails_until_the_process_stops() {
    let served = served().await;
    let (broker, store) = (served.checks.add("broker"), served.checks.add("store"));
    broker.ok();
    store.failing("connection refused");
    let (status, body) = served.get("/metrics", "").await;
    assert_eq!(status, 200);
    let of = |check| format!("readiness_check_failing_seconds{{check=\"{check}\"}}");
    assert!(body.contains(&format!("{} 0\n", of("broker"))), "{body}");
    let failing = body.split(&of("store")).nth(1).unwrap().trim_start();
    let seconds: u64 = failing.lines().next().unwrap().parse().unwrap();
    assert!((1..60).contains(&seconds), "{body}");
    let pending = served.shutdown.drain().register("the test");
    served.shutdown.trigger().request();
    let (_, body) = served.get("/metrics", "").await;
    assert!(!body.contains("readiness_check"), "{body}");
    assert!(body.contains("build_info"), "{body}");
    drop(pending);
    served.task.await.unwrap();
}

#[tokio::test]
async fn livez_answers_however_many_connect_and_say_nothing() {
    let served = served().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS + 16 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    assert_eq!(served.get("/livez", "").await, (200, "ok\n".into()));
    // The oldest gave way, long before the time for a head was over.
    assert_eq!(silent[0].read(&mut [0; 1]).await.unwrap_or(0), 0);
}
