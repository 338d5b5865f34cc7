use clap::Parser as _;
use link::http::client::ApiFlags;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::args::{Args, Verb};

/// Answers everything with so many things, and says that there are as many as a number can be.
async fn boundless(things: usize) -> String {
    let items: Vec<Value> = (0..things)
        .map(|number| json!({"name": format!("c{number}"), "id": "b", "consumer_name": format!("c{number}")}))
        .collect();
    serving(json!({"items": items, "total": u64::MAX})).await
}

/// Answers everything with this.
async fn serving(body: Value) -> String {
    let body = body.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = [0; 16 * 1024];
            let _ = stream.read(&mut read).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    format!("http://{address}")
}

fn look(api: String) -> Look {
    let flags = ApiFlags {
        api: Some(api),
        ..ApiFlags::default()
    };
    Look::new(flags.client().unwrap(), Duration::from_secs(60))
}

fn view(sort: &str) -> View {
    let line = ["probe", "watch", "--sort", sort];
    let Verb::Watch(args) = Args::parse_from(line).command else {
        panic!("another verb");
    };
    View::new(&args, 7)
}

#[tokio::test]
async fn another_server_s_json_is_no_region_without_clusters() {
    for foreign in [
        json!({}),
        json!([]),
        Value::Null,
        json!({"items": null, "total": 0}),
        json!({"items": {}, "total": 0}),
        json!({"items": []}),
        json!({"items": [], "total": -1}),
    ] {
        let address = serving(foreign.clone()).await;
        for sort in ["waiting", "presence"] {
            let seen = look(address.clone())
                .at(&view(sort), Timestamp::UNIX_EPOCH)
                .await;
            let error = seen.unwrap_err();
            assert!(
                matches!(error, ApiError::Foreign { .. }),
                "{foreign}: {error}"
            );
        }
    }
    let address = serving(json!({"items": [], "total": 0})).await;
    let seen = look(address)
        .at(&view("waiting"), Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(seen.unwrap().clusters, 0);
}

/// Bundles that wait, as many as are shown.
fn waiting() -> Snapshot {
    let bundle =
        |number| BundleRow::of(&json!({"id": format!("b{number}"), "waiting_for": "send"}));
    Snapshot {
        bundles: (0..BUNDLES).map(bundle).collect(),
        ..Snapshot::default()
    }
}

#[tokio::test]
async fn what_waits_is_explained_all_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // Answers nobody before everybody has asked.
    let all = Arc::new(tokio::sync::Barrier::new(BUNDLES));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let all = all.clone();
            tokio::spawn(async move {
                let mut read = [0; 16 * 1024];
                let read = stream
                    .read(&mut read)
                    .await
                    .map(|count| read[..count].to_vec());
                all.wait().await;
                let asked = String::from_utf8(read.unwrap()).unwrap();
                let id = asked.split('/').find(|part| part.starts_with('b')).unwrap();
                let body = json!({"waiting": {"why": format!("why of {id}")}}).to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
            });
        }
    });
    let mut snapshot = waiting();
    look(address).explain(&mut snapshot).await;
    for bundle in &snapshot.bundles {
        assert_eq!(bundle.why, format!("why of {}", bundle.id));
    }
}

#[tokio::test(start_paused = true)]
async fn reasons_that_do_not_come_are_waited_for_a_moment_altogether() {
    // Takes connections, as the system does for it, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (begun, mut snapshot) = (Instant::now(), waiting());
    look(address).explain(&mut snapshot).await;
    assert!(begun.elapsed() <= EXPLAINED_WITHIN, "{:?}", begun.elapsed());
    assert_eq!(snapshot, waiting());
}

#[tokio::test]
async fn an_answer_longer_than_was_asked_for_is_cut() {
    let address = boundless(WAITING + 100).await;
    for sort in ["waiting", "name", "seen", "presence"] {
        let mut view = view(sort);
        for offset in [0, 3, 1000] {
            view.offset = offset;
            let mut look = look(address.clone());
            let seen = look.at(&view, Timestamp::UNIX_EPOCH).await.unwrap();
            assert!(seen.rows.len() <= 7, "{sort} {offset}: {}", seen.rows.len());
            assert_eq!(seen.clusters, u64::MAX);
        }
    }
}
