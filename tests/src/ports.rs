//! Ports for servers that cannot say which one they chose.
//!
//! Between the choice and the start of such a server, and while it is down, the port belongs to nobody. So they come from
//! below the range from which the system gives ports to `bind` and `connect`, a process never gets one twice, and processes
//! begin at different places. Other programs may still take one: whoever starts a server tries again with another.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port nobody listens on right now, and that this function gives nobody else in this process.
///
/// # Errors
/// When all are in use.
pub fn free_port() -> io::Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(STRIDE);
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..count {
        let at = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + u16::try_from(at).unwrap_or_default();
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

// Above the usual ports of servers; below node ports (30000) and what Linux gives by itself (32768).
const PORTS: Range<u16> = 15_000..30_000;

// Numbers of processes that run together are near each other: the golden section of the range lays them out evenly.
const STRIDE: u32 = 9271;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_nor_while_it_is_in_use() {
        let first = free_port().unwrap();
        let held: Vec<_> = (first + 1..first + 4)
            .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .collect();
        let mut given = BTreeSet::from([first]);
        for _ in 0..50 {
            let port = free_port().unwrap();
            assert!(PORTS.contains(&port) && given.insert(port), "{port}");
            let taken = held
                .iter()
                .any(|it| it.local_addr().unwrap().port() == port);
            assert!(!taken, "{port}");
        }
    }
}
