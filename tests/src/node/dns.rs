//! The name server of a node's pods: addresses of a few names, and an honest "no" for everything else. Pods on a real
//! cluster ask CoreDNS; its part here is small enough to need no program.
//!
//! A name that is known has an A record only, and a name that is not does not exist: refusing to answer would make
//! resolvers try again.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;

/// Names and their addresses; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Mutex<BTreeMap<String, Ipv4Addr>>>);

// === impl Names ===

impl Names {
    /// From now on, a name leads to an address.
    pub(super) fn set(&self, name: &str, address: Ipv4Addr) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_ascii_lowercase(), address);
    }

    /// Answers on a socket until it fails.
    pub(super) async fn serve(self, socket: UdpSocket) -> io::Result<()> {
        let mut question = [0; LONGEST];
        loop {
            let (length, asker) = socket.recv_from(&mut question).await?;
            if let Some(answer) = self.answer(&question[..length]) {
                // Whoever has gone meanwhile needs no answer.
                let _ = socket.send_to(&answer, asker).await;
            }
        }
    }

    /// `None` for what is no question.
    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = name(message)?;
        let kind = u16::from_be_bytes([*message.get(end)?, *message.get(end + 1)?]);
        let question = message.get(HEADER..end + 4)?;
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = names.get(&name);
        let address = found.filter(|_| kind == A);
        let code = if found.is_some() { 0 } else { NO_SUCH_NAME };
        // An authoritative answer with what was asked, to whoever wants recursion or not.
        let mut answer = message.get(..2)?.to_vec();
        answer.extend([0x84 | (message.get(2)? & 1), 0x80 | code]);
        answer.extend([0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
        answer.extend(question);
        if let Some(address) = address {
            // The name as above, A, IN, five seconds, four bytes.
            answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}

/// The name of the first question in lower case, and where it ends.
fn name(message: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

const HEADER: usize = 12;
const A: u16 = 1;
const NO_SUCH_NAME: u8 = 3;
// Questions over UDP are no longer.
const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(names: &Names, name: &str, kind: u8) -> Vec<u8> {
        let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.bytes());
        }
        question.extend([0, 0, kind, 0, 1]);
        names.answer(&question).unwrap()
    }

    #[test]
    fn a_known_name_has_an_address_and_no_other_records() {
        let names = Names::default();
        names.set("broker.test", Ipv4Addr::new(10, 1, 2, 3));
        let answer = ask(&names, "Broker.TEST", 1);
        assert_eq!(answer[..8], [7, 7, 0x85, 0x80, 0, 1, 0, 1]);
        assert!(answer.ends_with(&[0, 4, 10, 1, 2, 3]), "{answer:?}");
        let answer = ask(&names, "broker.test", 28);
        assert_eq!(answer[..8], [7, 7, 0x85, 0x80, 0, 1, 0, 0]);
        let answer = ask(&names, "other.test", 1);
        assert_eq!(answer[..8], [7, 7, 0x85, 0x83, 0, 1, 0, 0]);
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let names = Names::default();
        for odd in [
            &[][..],
            &[0; 12],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1],
        ] {
            assert_eq!(names.answer(odd), None, "{odd:?}");
        }
    }
}
