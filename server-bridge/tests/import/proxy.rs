//! A way to the database that ends half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Passes on so many bytes of what the server says in all.
pub(crate) struct HalfWay {
    pub(crate) port: u16,
    reached: Arc<Notify>,
    task: JoinHandle<()>,
}

/// What happens then.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// Nothing comes any more.
    Silence,
    /// The connection is closed.
    Close,
}

// === impl HalfWay ===

impl HalfWay {
    pub(crate) async fn to(port: u16, bytes: usize, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let reached = Arc::new(Notify::new());
        let (tell, left) = (reached.clone(), Arc::new(AtomicUsize::new(bytes)));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(pass(client, server, left.clone(), tell.clone(), then));
            }
        });
        Self {
            port: own,
            reached,
            task,
        }
    }

    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }
}

impl Drop for HalfWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    left: Arc<AtomicUsize>,
    reached: Arc<Notify>,
    then: Then,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let down = async {
        let mut buffer = vec![0; 4096];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(count))
            });
            if before.unwrap_or_default() <= count {
                reached.notify_one();
                match then {
                    Then::Silence => std::future::pending().await,
                    Then::Close => return,
                }
            }
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = down => {}
        _ = copy(&mut from_client, &mut to_server) => {}
    }
}
