//! Many messages at once, over TLS.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rmqtt_codec::v5;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{V5, publish};
use super::rig::{Rig, connect5};

const MESSAGES: usize = 20_000;
const WINDOW: usize = 100;

async fn dial(rig: &Rig, client_id: &str) -> V5<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(rig.set.ca.as_bytes()).unwrap())
        .unwrap();
    let chain = vec![CertificateDer::from_pem_slice(rig.set.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(rig.set.key.as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let tcp = TcpStream::connect(rig.broker.local_addr()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let connect = v5::Connect {
        clean_start: true,
        ..connect5(client_id)
    };
    V5::connect(stream, connect).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_qos_1_messages_pass_in_seconds_complete_and_in_order() {
    let rig = Rig::new().await;
    let mut subscriber = dial(&rig, "sub").await;
    subscriber.subscribe(&["t/+"]).await;
    let publisher = dial(&rig, "pub").await;
    let start = Instant::now();

    let sending = tokio::spawn(async move {
        let (mut sink, mut stream) = publisher.frames.split();
        let (mut sent, mut acked) = (0, 0);
        while acked < MESSAGES {
            while sent < MESSAGES && sent - acked < WINDOW {
                let id = NonZeroU16::new((sent % 60_000 + 1) as u16);
                let packet = publish("t/x", &format!("{sent:01024}"), id);
                sink.feed(v5::Packet::from(packet)).await.unwrap();
                sent += 1;
            }
            sink.flush().await.unwrap();
            match stream.next().await.unwrap().unwrap().0 {
                v5::Packet::PublishAck(ack) => {
                    assert_eq!(ack.reason_code, v5::PublishAckReason::Success);
                    acked += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    });
    for expected in 0..MESSAGES {
        let message = subscriber.message().await;
        let number: usize = std::str::from_utf8(&message.payload)
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(number, expected);
    }
    sending.await.unwrap();
    let took = start.elapsed();
    println!("{MESSAGES} messages of 1 KiB in {took:?}");
    // A few seconds on an idle machine; the bound only catches a broken design.
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(rig.broker.counts().queue_full, 0);
}
