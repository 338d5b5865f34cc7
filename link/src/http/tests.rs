use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn served(router: Router, bounds: Bounds) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(serve(listener, router, bounds, stopped));
    Served {
        address,
        stop,
        task,
    }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection that stays.
    async fn ask(&self, stream: &mut TcpStream) {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 512];
        let read = timeout(PATIENCE, stream.read(&mut answer)).await;
        let read = read.expect("an answer within 20 s").unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
    }

    /// Status and body of one request on a connection of its own.
    async fn get(&self) -> String {
        let mut stream = self.connect().await;
        // Whoever is refused may not get to write it.
        let _ = stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await;
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let read = timeout(PATIENCE, reading)
        .await
        .expect("the end within 20 s");
    let _ = read;
    String::from_utf8_lossy(&answer).into_owned()
}

fn bounds() -> Bounds {
    Bounds {
        connections: 3,
        ..Bounds::new(3, 1)
    }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

#[tokio::test]
async fn the_oldest_connection_that_waits_gives_way_to_one_past_the_cap() {
    let served = served(hello(), bounds()).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        // Answered once, so that it is known to be accepted; then idle.
        let mut stream = served.connect().await;
        served.ask(&mut stream).await;
        idle.push(stream);
    }
    assert!(served.get().await.ends_with("hello"));
    // Closed, with nothing more said.
    assert_eq!(read_all(&mut idle.remove(0)).await, "");
    for stream in &mut idle {
        served.ask(stream).await;
    }
}

#[tokio::test]
async fn a_request_of_a_known_caller_stays_and_one_past_those_is_told_so() {
    let (begun, mut beginning) = mpsc::channel(4);
    let release = CancellationToken::new();
    let slow = {
        let release = release.clone();
        async move |Extension(permit): Extension<ConnectionPermit>| {
            let mut call = permit.call();
            call.known(None).unwrap();
            begun.send(()).await.unwrap();
            release.cancelled().await;
            drop(call);
            "done"
        }
    };
    let router = hello().route("/slow", get(slow));
    let served = served(router, bounds()).await;
    let mut busy = Vec::new();
    let mut silent = served.connect().await;
    for _ in 0..3 {
        let mut stream = served.connect().await;
        stream.write_all(SLOW).await.unwrap();
        beginning.recv().await.unwrap();
        busy.push(stream);
    }
    assert_eq!(read_all(&mut silent).await, "");
    let refused = served.get().await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("cache-control: no-store\r\n"), "{refused}");
    assert!(
        refused.ends_with("too many connections, try again later\n"),
        "{refused}"
    );
    release.cancel();
    for mut stream in busy {
        assert!(read_all(&mut stream).await.ends_with("done"));
    }
    let deadline = Instant::now() + PATIENCE;
    while !served.get().await.starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_costs_the_connection_and_so_does_silence() {
    let bounds = Bounds {
        head: Duration::from_millis(200),
        ..bounds()
    };
    let served = served(hello(), bounds).await;
    let mut half = served.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let mut silent = served.connect().await;
    for stream in [&mut half, &mut silent] {
        let answer = read_all(stream).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    assert!(served.get().await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_answer() {
    struct Told(Option<oneshot::Sender<()>>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.take().map(|told| told.send(()));
        }
    }
    let (told, dropped) = oneshot::channel();
    let told = Arc::new(std::sync::Mutex::new(Some(Told(Some(told)))));
    let endless = async move || {
        let told = told.lock().unwrap().take();
        let chunk = Bytes::from_static(&[b'x'; 65_536]);
        let chunks = stream::repeat_with(move || {
            let _ = &told;
            Ok::<_, Infallible>(chunk.clone())
        });
        Body::from_stream(chunks)
    };
    let bounds = Bounds {
        stall: Duration::from_millis(200),
        ..bounds()
    };
    let served = served(Router::new().route("/", get(endless)), bounds).await;
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    timeout(PATIENCE, dropped)
        .await
        .expect("the answer is given up within 20 s")
        .unwrap();
}

#[tokio::test]
async fn stopping_finishes_the_request_under_way_and_closes_idle_connections() {
    let (release, released) = oneshot::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(Some(released)));
    let (begun, has_begun) = oneshot::channel::<()>();
    let begun = Arc::new(std::sync::Mutex::new(Some(begun)));
    let slow = async move || {
        let (released, begun) = (
            released.lock().unwrap().take(),
            begun.lock().unwrap().take(),
        );
        let _ = begun.map(|begun| begun.send(()));
        if let Some(released) = released {
            let _ = released.await;
        }
        "done"
    };
    let served = served(Router::new().route("/", get(slow)), bounds()).await;
    let mut idle = served.connect().await;
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    has_begun.await.unwrap();
    served.stop.cancel();
    assert_eq!(read_all(&mut idle).await, "");
    release.send(()).unwrap();
    assert!(read_all(&mut stream).await.ends_with("done"));
    timeout(PATIENCE, served.task)
        .await
        .expect("it ends within 20 s")
        .unwrap();
}

#[test]
fn the_cap_leaves_most_descriptors_to_others() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX);
    assert_eq!(Bounds::new(1, 4).connections, 1);
    assert!(Bounds::new(usize::MAX, 4).connections as u64 <= limit / 4 + 1);
}

const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);
