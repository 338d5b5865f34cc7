//! Against our own listener, and against sockets that behave badly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Request as ServerRequest;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use prometheus::IntCounter;
use rcgen::SanType;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::error::Hint as _;
use crate::http::{Bounds, ServerTls, serve_with};
use crate::identity::fixture::{Ca, Set, named};
use crate::tls::TlsProblem;

async fn served(router: Router, tls: Option<ServerTls>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let bounds = Bounds::new(8, 1);
    tokio::spawn(serve_with(
        listener,
        tls,
        router,
        bounds,
        std::future::pending(),
    ));
    port
}

fn client(url: &str) -> ApiClient {
    let address = HttpAddress::parse(url).unwrap();
    ApiClient::new(
        HttpClient::new(address, HttpsFiles::default()).unwrap(),
        None,
    )
}

/// Answers with what was asked, and refuses below `/no`.
fn mirror() -> Router {
    let refuse = |status: u16| {
        let body =
            json!({"kind": "Error", "reason": "not \u{1b}[31m you\nno", "operation_id": "op-1"});
        (StatusCode::from_u16(status).unwrap(), Json(body))
    };
    let echo = async |request: ServerRequest| {
        let authorization = request.headers().get("authorization");
        let authorization = authorization.map(|it| it.to_str().unwrap().to_owned());
        Json(json!({"path": request.uri().to_string(), "authorization": authorization}))
    };
    Router::new()
        .route("/api/maestro/v1/401", get(async move || refuse(401)))
        .route("/api/maestro/v1/403", get(async move || refuse(403)))
        .route("/api/maestro/v1/404", get(async move || refuse(404)))
        .route("/api/maestro/v1/500", get(async move || refuse(500)))
        .route("/api/maestro/v1/html", get(async || "<html>"))
        .route("/api/maestro/v1/empty", get(async || ""))
        .fallback(echo)
}

#[tokio::test]
async fn the_token_is_read_again_for_each_call_and_never_shown() {
    let port = served(mirror(), None).await;
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("token");
    let flags = ApiFlags {
        api: Some(format!("http://127.0.0.1:{port}")),
        api_token_file: Some(path.clone()),
        ..ApiFlags::default()
    };
    let api = flags.client().unwrap();
    for token in ["first", "second"] {
        std::fs::write(&path, format!("{token}\n")).unwrap();
        let answer = api.get("/consumers?page=1").await.unwrap();
        assert_eq!(answer["authorization"], format!("Bearer {token}"));
        assert_eq!(answer["path"], "/api/maestro/v1/consumers?page=1");
    }
    std::fs::write(&path, "two words").unwrap();
    let error = api.get("/x").await.unwrap_err();
    assert!(matches!(error, ApiError::NotToken { .. }));
    assert!(!format!("{error:?} {error} {api:?}").contains("two words"));
    std::fs::remove_file(&path).unwrap();
    let error = api.get("/x").await.unwrap_err();
    assert!(matches!(error, ApiError::Token { .. }), "{error}");
    assert_eq!(error.exit_kind().code(), 2);
}

#[tokio::test]
async fn refusals_carry_the_apis_words_and_what_to_do() {
    let port = served(mirror(), None).await;
    let api = client(&format!("http://localhost:{port}"));
    for (path, code, hint) in [
        ("/401", 4, "--api-token-file"),
        ("/403", 4, "right to read"),
        ("/404", 1, "older bridge"),
        ("/500", 1, "op-1"),
    ] {
        let error = api.get(path).await.unwrap_err();
        let text = error.to_string();
        // What a terminal would act on is gone.
        assert!(text.contains("not [31m you no"), "{text}");
        assert_eq!(error.exit_kind().code(), code, "{text}");
        assert!(error.hint().unwrap().contains(hint), "{text}");
    }
    let error = api.get("/html").await.unwrap_err();
    assert!(matches!(error, ApiError::NotJson { .. }), "{error}");
    assert!(api.get("/empty").await.unwrap().is_null());
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_an_error() {
    let text = Router::new().route("/", get(async || "x".repeat(1001)));
    let port = served(text, None).await;
    let http = |limit| {
        let address = HttpAddress::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        let http = HttpClient::new(address, HttpsFiles::default()).unwrap();
        http.answer_bytes(limit)
    };
    let request = || Request::get("/").body(Bytes::new()).unwrap();
    assert_eq!(http(1001).send(request()).await.unwrap().body().len(), 1001);
    let error = http(1000).send(request()).await.unwrap_err();
    assert!(
        matches!(error, HttpError::TooLarge { limit: 1000, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_refusal_is_told_however_long_it_is() {
    let page = async || (StatusCode::BAD_GATEWAY, "x".repeat(2 * REFUSAL_BYTES));
    let port = served(Router::new().fallback(get(page)), None).await;
    let api = client(&format!("http://127.0.0.1:{port}"));
    let error = api.get("/x").await.unwrap_err();
    assert!(
        matches!(error, ApiError::Status { status: 502, .. }),
        "{error}"
    );
    // Without the API's number of a failure it is a proxy's.
    assert!(error.hint().unwrap().contains("a proxy"), "{error}");
    assert_eq!(api.idle_connections(), 0);
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = |port: u16| {
        let address = HttpAddress::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        HttpClient::new(address, HttpsFiles::default()).unwrap()
    };
    let http = client(port).within(Duration::from_millis(50));
    let request = || Request::get("/").body(Bytes::new()).unwrap();
    // The kernel takes the connection, nobody reads it.
    let error = http.send(request()).await.unwrap_err();
    assert!(matches!(error, HttpError::NoAnswer { .. }), "{error}");
    assert_eq!(error.exit_kind().code(), 3);
    // Bound, so that nobody else listens there.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let http = client(closed.local_addr().unwrap().port());
    let error = http.send(request()).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect { .. }), "{error}");
    assert!(error.hint().unwrap().contains("nothing listens"));
}

/// Answers one request for each connection and closes it, without saying so in the answer.
async fn forgetful(taken: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = [0; 4096];
            let _ = stream.read(&mut read).await;
            taken.fetch_add(1, Ordering::SeqCst);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .await;
        }
    });
    port
}

#[tokio::test]
async fn a_connection_that_went_while_it_was_idle_is_made_again() {
    let taken = Arc::new(AtomicUsize::new(0));
    let api = client(&format!(
        "http://127.0.0.1:{}",
        forgetful(taken.clone()).await
    ));
    for call in 1..=5 {
        api.get("/x").await.unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), call);
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let port = served(mirror(), None).await;
    let api = client(&format!("http://127.0.0.1:{port}"));
    for _ in 0..3 {
        api.get("/x").await.unwrap();
        assert_eq!(api.idle_connections(), 1);
    }
}

fn issued(ca: &Ca, host: &str) -> Set {
    let mut params = named("api");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    params.subject_alt_names = vec![SanType::DnsName(host.try_into().unwrap())];
    ca.issue(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
}

/// A listener that takes clients of `ca` only.
fn server_tls(ca: &Ca, set: &Set) -> ServerTls {
    tls::install_provider();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap())
        .unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let chain = CertificateDer::pem_slice_iter(set.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(set.key.as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap();
    ServerTls::new(
        Arc::new(config),
        IntCounter::new("failed", "failed").unwrap(),
    )
}

#[tokio::test]
async fn https_verifies_the_server_and_shows_the_clients_certificate() {
    let (ca, other) = (Ca::new("ours"), Ca::new("other"));
    let port = served(mirror(), Some(server_tls(&ca, &issued(&ca, "localhost")))).await;
    let scratch = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let set = issued(&ca, "caller");
    let (ours, foreign) = (write("ca", &ca.pem), write("other", &other.pem));
    let flags = |ca: &std::path::Path, known: bool| ApiFlags {
        api: Some(format!("https://localhost:{port}")),
        api_ca: Some(ca.to_owned()),
        api_cert: known.then(|| write("cert", &set.certificate)),
        api_key: known.then(|| write("key", &set.key)),
        ..ApiFlags::default()
    };
    let answer = flags(&ours, true)
        .client()
        .unwrap()
        .get("/x")
        .await
        .unwrap();
    assert_eq!(answer["path"], "/api/maestro/v1/x");
    let error = flags(&foreign, true)
        .client()
        .unwrap()
        .get("/x")
        .await
        .unwrap_err();
    let unknown = match &error {
        ApiError::Http(HttpError::Tls { problem, .. }) => {
            matches!(**problem, TlsProblem::UnknownIssuer { .. })
        }
        _ => false,
    };
    assert!(unknown, "{error:?}");
    let error = flags(&ours, false)
        .client()
        .unwrap()
        .get("/x")
        .await
        .unwrap_err();
    assert_eq!(error.exit_kind().code(), 4, "{error:?}");
    assert!(
        error.hint().unwrap().contains("client certificate"),
        "{error:?}"
    );
    let empty = ApiFlags {
        api_ca: Some(write("empty", "no PEM")),
        ..flags(&ours, false)
    };
    assert_eq!(empty.client().unwrap_err().exit_kind().code(), 2);
}

#[test]
fn a_file_of_tls_for_an_address_without_it_is_refused_by_its_option() {
    let given = |api: Option<&str>, file: &str| {
        let path = |option| (file == option).then(|| "/nowhere".into());
        ApiFlags {
            api: api.map(str::to_owned),
            api_ca: path("--api-ca"),
            api_cert: path("--api-cert"),
            api_key: path("--api-key"),
            insecure_api_http: true,
            ..ApiFlags::default()
        }
    };
    for api in [
        None,
        Some("http://127.0.0.1:1"),
        Some("HTTP://other.example"),
    ] {
        for option in ["--api-ca", "--api-cert", "--api-key"] {
            let error = given(api, option).client().unwrap_err();
            assert_eq!(error.exit_kind().code(), 2, "{error:?}");
            let told = format!("{error} {}", error.hint().unwrap());
            for part in [
                format!("`{option}`").as_str(),
                "http://",
                "`--api https://…`",
            ] {
                assert!(told.contains(part), "no `{part}` in {told}");
            }
        }
        given(api, "").client().unwrap();
    }
    // With TLS they have one, and an address that is none is told of by itself.
    for api in ["https://127.0.0.1:1", "nowhere"] {
        given(Some(api), "--api-ca").check().unwrap();
    }
}
