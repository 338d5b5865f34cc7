//! The harness' own promises about broken networks.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that sends every byte back, after a first byte that says which server it is.
async fn echo(name: u8) -> SocketAddr {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = write.write_all(&[name]).await;
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn connect(address: SocketAddr) -> io::Result<(TcpStream, u8)> {
    let mut stream = TcpStream::connect(address).await?;
    let name = timeout(PATIENCE, stream.read_u8()).await??;
    Ok((stream, name))
}

async fn ping(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
    stream.write_u8(byte).await?;
    timeout(PATIENCE, stream.read_u8()).await?
}

#[tokio::test]
async fn every_connection_is_cut_in_its_time() {
    let range = Duration::from_millis(30)..Duration::from_millis(60);
    let proxy = CuttingProxy::with(echo(b'a').await, range, 7)
        .await
        .unwrap();
    for round in 1..=3 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        // A busy machine may take so long that not even the first byte comes before the cut.
        let mut read = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut read)).await;
        let ended = ended.unwrap().unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
        assert!(read.len() <= 1, "{read:?}");
        assert_eq!(proxy.cuts(), round);
    }
}

#[tokio::test]
async fn a_calm_proxy_cuts_nothing_until_it_takes_the_knife_again() {
    let range = Duration::from_millis(1)..Duration::from_millis(2);
    let proxy = CuttingProxy::with(echo(b'a').await, range, 7)
        .await
        .unwrap();
    proxy.calm(true);
    let (mut stream, _) = connect(proxy.address()).await.unwrap();
    for byte in 0..200 {
        assert_eq!(ping(&mut stream, byte).await.unwrap(), byte);
    }
    assert_eq!(proxy.cuts(), 0);
    proxy.calm(false);
    timeout(PATIENCE, stream.read_u8())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(proxy.cuts(), 1);
}

#[tokio::test]
async fn a_stalled_connection_stands_open_and_goes_on_without_loss() {
    let proxy = RetargetableProxy::start(echo(b'a').await).await.unwrap();
    let (mut stream, _) = connect(proxy.address()).await.unwrap();
    assert_eq!(ping(&mut stream, 1).await.unwrap(), 1);
    proxy.stall();
    stream.write_u8(2).await.unwrap();
    let silence = timeout(Duration::from_millis(100), stream.read_u8()).await;
    silence.unwrap_err();
    proxy.pass();
    assert_eq!(
        timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(),
        2
    );
}

#[tokio::test]
async fn a_retargeted_proxy_keeps_its_port() {
    let proxy = RetargetableProxy::start(echo(b'a').await).await.unwrap();
    let (mut old, name) = connect(proxy.address()).await.unwrap();
    assert_eq!(name, b'a');
    proxy.retarget(echo(b'b').await);
    assert_eq!(connect(proxy.address()).await.unwrap().1, b'b');
    assert_eq!(ping(&mut old, 9).await.unwrap(), 9);
    proxy.break_all();
    ping(&mut old, 9).await.unwrap_err();
    wait_for("no open connection", PATIENCE, async || {
        match proxy.open() {
            0 => Ok(()),
            open => Err(format!("{open} open")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_refusing_proxy_lets_nobody_in() {
    let proxy = RetargetableProxy::start(echo(b'a').await).await.unwrap();
    proxy.refuse();
    connect(proxy.address()).await.unwrap_err();
    proxy.pass();
    connect(proxy.address()).await.unwrap();
}
