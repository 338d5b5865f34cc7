//! Bounds of a listener with TLS: one slow handshake delays nobody, one connection past the most takes the place of one
//! that waits, and one caller has a share.

use std::sync::Arc;

use futures_util::StreamExt as _;
use link::admin::Checks;
use link::clock::Clock;
use prometheus::Registry;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use server_bridge::callers::{CallersConfig, incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bridge::{Bridge, Place, config, told};
use crate::issuer::Issuer;
use crate::pki::Pair;

#[tokio::test]
async fn handshakes_that_never_end_delay_no_other_and_give_way() {
    let place = Place::new();
    let bridge = Bridge::bounded(&place, place.tls(), 4).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(bridge.address).await.unwrap());
    }
    // The oldest is closed long before the time for a handshake is over, and whoever comes is served.
    assert_eq!(silent[0].read(&mut [0; 16]).await.unwrap_or(0), 0);
    let client = place.anonymous().build().unwrap();
    assert_eq!(bridge.get(&client, "/consumers").await.0, 200);
    let other = place.anonymous().build().unwrap();
    assert_eq!(bridge.get(&other, "/consumers").await.0, 200);
    assert_eq!(
        bridge.metric("bridge_tls_handshakes_failed_total"),
        Some(0.0)
    );
}

#[tokio::test]
async fn one_caller_keeps_three_quarters_of_the_connections_and_the_unknown_none() {
    let (place, issuer) = (Place::new(), Issuer::start().await);
    let config = CallersConfig {
        issuers: vec![issuer.config()],
        ..config()
    };
    let bridge = Bridge::bounded(&place, config, 4).await;
    let [ann, bob] = ["ann", "bob"].map(|sub| issuer.token(json!({"sub": sub})));
    let begin = async |head: String| {
        let mut stream = TcpStream::connect(bridge.address).await.unwrap();
        let head = format!("{head}host: {}\r\n\r\n", bridge.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    // Its answer says that the connection ends, and so it does.
    let mut unknown = begin("GET /api/maestro HTTP/1.1\r\n".into()).await;
    let mut answer = String::new();
    unknown.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // Requests whose bodies do not come.
    let post = "POST /api/maestro/v1/consumers HTTP/1.1\r\ncontent-type: application/json\r\n\
                content-length: 9\r\nexpect: 100-continue\r\nauthorization: Bearer";
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut call = begin(format!("{post} {ann}\r\n")).await;
        // It is asked for its body: the call is under way.
        let mut asked = [0; 12];
        call.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100");
        calls.push(call);
    }
    let client = || reqwest::Client::builder().no_proxy().build().unwrap();
    let full = "503 maestro-9: this caller's calls keep 3 connections already; use fewer, or try again later";
    assert_eq!(told(&bridge.with_token(&client(), &ann).await), full);
    assert_eq!(bridge.with_token(&client(), &bob).await.0, 200);
    drop(calls);
    let ask = async || bridge.with_token(&client(), &ann).await.0;
    crate::bridge::until(ask, |status| *status == 200).await;
}

#[tokio::test]
async fn accepted_connections_speak_h2_tell_who_they_are_and_give_their_place_back() {
    let place = Place::new();
    let (registry, checks) = (Registry::new(), Checks::new());
    let callers = place.mutual().build(Clock::system(), &registry, &checks);
    let callers = callers.await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = incoming(listener, callers.grpc, 2, std::future::pending());
    let mut stream = Box::pin(stream);
    let mut silent = TcpStream::connect(address).await.unwrap();
    let pair = place.clients.client("ann", None);
    let connecting = tokio::spawn(connect(address, client(&place, &pair, b"h2")));
    let mut accepted = stream.next().await.unwrap().unwrap();
    let mut connected = connecting.await.unwrap().unwrap();
    assert_eq!(connected.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let connection = tonic::transport::server::Connected::connect_info(&accepted);
    let caller = callers
        .access
        .authenticate(&connection, None)
        .await
        .unwrap();
    assert_eq!((caller.user.as_str(), caller.groups.len()), ("ann", 0));
    accepted.write_all(b"hello").await.unwrap();
    accepted.flush().await.unwrap();
    let mut read = [0; 5];
    connected.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    let mut call = accepted.permit().call();
    call.known(Some("ann")).unwrap();
    // Who does nothing gives way to who comes; who has a call does not.
    let third = tokio::spawn(connect(address, client(&place, &pair, b"h2")));
    let other = stream.next().await.unwrap().unwrap();
    let _third = third.await.unwrap().unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let mut call_of_other = other.permit().call();
    call_of_other.known(Some("bob")).unwrap();
    // One past the most.
    let refused = connect(address, client(&place, &pair, b"h2")).await;
    assert!(refused.is_err());
    drop((call, accepted));
    let config = client(&place, &pair, b"h2");
    let again = async || connect(address, Arc::clone(&config)).await.is_ok();
    let taking = tokio::spawn(async move { stream.next().await.is_some() });
    crate::bridge::until(again, |connected| *connected).await;
    assert!(taking.await.unwrap());
}

#[tokio::test]
async fn who_speaks_another_protocol_is_refused_in_the_handshake() {
    let place = Place::new();
    let bridge = Bridge::start(&place, place.mutual()).await;
    let pair = place.clients.client("ann", None);
    for (protocol, ok) in [(&b"http/1.1"[..], true), (b"h2", false)] {
        let connected = connect(bridge.address, client(&place, &pair, protocol)).await;
        assert_eq!(connected.is_ok(), ok, "{connected:?}");
    }
}

pub(crate) fn client(place: &Place, pair: &Pair, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(place.ca.pem.as_bytes()).unwrap())
        .unwrap();
    let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

pub(crate) async fn connect(
    address: std::net::SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    TlsConnector::from(config).connect(name, stream).await
}
