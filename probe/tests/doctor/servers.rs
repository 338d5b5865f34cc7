//! Small servers, each with one way to behave.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::pki::{Authority, Pair};

/// How a TLS server behaves.
pub(crate) struct Tls<'a> {
    pub(crate) pair: &'a Pair,
    /// Asks for a client certificate of this authority.
    pub(crate) clients: Option<&'a Authority>,
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
    pub(crate) alpn: &'a [&'a str],
    /// Sent after the first bytes that come.
    pub(crate) answer: Vec<u8>,
}

impl<'a> Tls<'a> {
    pub(crate) fn new(pair: &'a Pair) -> Self {
        Self {
            pair,
            clients: None,
            versions: rustls::ALL_VERSIONS,
            alpn: &[],
            answer: Vec::new(),
        }
    }

    /// Runs until the end of the test; returns its port.
    pub(crate) fn start(self) -> String {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap())
                    .unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let certificate = CertificateDer::from_pem_slice(self.pair.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.pair.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let (config, answer) = (Arc::new(config), self.answer);
        serve(move |socket| {
            let mut stream =
                StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
            let mut bytes = [0; 1024];
            if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                let _ = stream.write_all(&answer).and_then(|()| stream.flush());
            }
            // Until the other side goes.
            while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
        })
    }
}

/// Accepts, and says this to the first bytes that come; nothing at all if it is empty.
pub(crate) fn plain(answer: &'static str) -> String {
    serve(move |mut socket| {
        let mut bytes = [0; 1024];
        while socket.read(&mut bytes).is_ok_and(|count| count > 0) {
            let _ = socket.write_all(answer.as_bytes());
            if !answer.is_empty() {
                return;
            }
        }
    })
}

/// Accepts and closes at once.
pub(crate) fn closing() -> String {
    serve(drop)
}

/// A port at which packets are swallowed: its queue is full, and nobody accepts.
pub(crate) struct Swallowing {
    pub(crate) port: String,
    _listener: tokio::net::TcpListener,
    _queued: Vec<TcpStream>,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) fn swallowing() -> Swallowing {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (listener, address) = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        (listener, address)
    });
    let wait = std::time::Duration::from_millis(300);
    let mut queued = Vec::new();
    while let Ok(socket) = TcpStream::connect_timeout(&address, wait) {
        queued.push(socket);
        assert!(queued.len() < 64, "the queue does not fill");
    }
    Swallowing {
        port: address.port().to_string(),
        _listener: listener,
        _queued: queued,
        _runtime: runtime,
    }
}

/// A port that is bound and at which nobody listens, as long as it is kept.
pub(crate) fn closed() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    (socket, port)
}

fn serve(each: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let each = Arc::new(each);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let each = each.clone();
            std::thread::spawn(move || each(socket));
        }
    });
    port.to_string()
}
