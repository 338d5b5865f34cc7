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
    let body = json!({"items": items, "total": u64::MAX}).to_string();
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

#[tokio::test]
async fn an_answer_longer_than_was_asked_for_is_cut() {
    let flags = ApiFlags {
        api: Some(boundless(WAITING + 100).await),
        ..ApiFlags::default()
    };
    for sort in ["waiting", "name", "seen", "presence"] {
        let line = ["probe", "watch", "--sort", sort];
        let Verb::Watch(args) = Args::parse_from(line).command else {
            panic!("another verb");
        };
        let mut view = View::new(&args, 7);
        for offset in [0, 3, 1000] {
            view.offset = offset;
            let mut look = Look::new(flags.client().unwrap(), Duration::from_secs(60));
            let seen = look.at(&view, Timestamp::UNIX_EPOCH).await.unwrap();
            assert!(seen.rows.len() <= 7, "{sort} {offset}: {}", seen.rows.len());
            assert_eq!(seen.clusters, u64::MAX);
        }
    }
}
