//! A second client with the first one's id and certificate, as when two processes are given the same identity: each takes the
//! id from the other, for as long as the fault is on.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use super::handle::Handle;
use super::registry::Fingerprint;

/// Competes for the client id that the faults name, until dropped.
pub(super) async fn run(handle: Handle) {
    let mut faults = handle.faults().watch();
    loop {
        let takeover = faults.borrow_and_update().takeover.clone();
        let Some(takeover) = takeover else {
            if faults.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        };
        let once = async {
            sleep(takeover.every).await;
            let known = handle.connection(&takeover.client_id);
            if let Some(known) = known.filter(|known| known.connected) {
                take(&handle, &known.certificate, &takeover.client_id).await;
            }
        };
        tokio::select! {
            () = once => {}
            _ = faults.changed() => {}
        }
    }
}

/// Connects, and holds the id until another takes it.
async fn take(handle: &Handle, certificate: &Fingerprint, client_id: &str) {
    let mut stream = handle.connect_in_process(certificate);
    if stream.write_all(&connect(client_id)).await.is_err() {
        return;
    }
    let mut buffer = [0; 256];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// CONNECT of MQTT 5 with a clean start, the longest keep-alive and no properties.
fn connect(client_id: &str) -> Vec<u8> {
    let mut rest = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0b10];
    rest.extend(KEEP_ALIVE.to_be_bytes());
    rest.push(0);
    // At most 128 bytes.
    rest.extend((client_id.len() as u16).to_be_bytes());
    rest.extend(client_id.as_bytes());
    let length = rest.len();
    let mut packet = vec![0x10];
    if length < 128 {
        packet.push(length as u8);
    } else {
        packet.extend([(length % 128) as u8 | 128, (length / 128) as u8]);
    }
    packet.extend(rest);
    packet
}

const KEEP_ALIVE: u16 = 1200;
