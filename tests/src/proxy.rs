//! Breakable networks: TCP proxies that stand between a client and a server inside the test's own runtime.
//!
//! [`CuttingProxy`] resets every connection after a random time. [`RetargetableProxy`] keeps its port while the
//! server behind it may stall, vanish, come back or be another one. Both end with a reset (RST), not an orderly
//! close, so that what is on its way is lost as it would be on a broken network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use self::relay::{Lifetime, Mode, Relay};
use crate::seed;

mod relay;

/// Cuts every connection after a random time.
#[derive(Debug)]
pub struct CuttingProxy {
    relay: Relay,
}

/// A stable port before a server that may go away.
#[derive(Debug)]
pub struct RetargetableProxy {
    relay: Relay,
}

// === impl CuttingProxy ===

impl CuttingProxy {
    /// Between clients and `target`, cutting after 30–250 ms, with a seed that is printed.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        Self::with(target, CUT_AFTER, seed::pick("cutting proxy")).await
    }

    /// With another range and a given seed.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn with(target: SocketAddr, after: Range<Duration>, seed: u64) -> io::Result<Self> {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        let lifetime: Lifetime = Box::new(move || Some(lock(&rng).random_range(after.clone())));
        let relay = Relay::start(target, lifetime).await?;
        Ok(Self { relay })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    /// Connections cut so far.
    pub fn cuts(&self) -> u64 {
        self.relay.cuts()
    }

    /// Leaves connections alone from now on, open ones too, or takes the knife again.
    pub fn calm(&self, calm: bool) {
        self.relay.calm(calm);
    }

    /// Sends new connections to another server.
    pub fn retarget(&self, target: SocketAddr) {
        self.relay.retarget(target);
    }
}

// === impl RetargetableProxy ===

impl RetargetableProxy {
    /// Between clients and `target`, passing everything on.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let relay = Relay::start(target, Box::new(|| None)).await?;
        Ok(Self { relay })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    /// Lets connections stand open while no byte moves either way.
    pub fn stall(&self) {
        self.relay.mode(Mode::Stall);
    }

    /// Resets new connections at once; open ones go on.
    pub fn refuse(&self) {
        self.relay.mode(Mode::Refuse);
    }

    /// Passes everything on again.
    pub fn pass(&self) {
        self.relay.mode(Mode::Pass);
    }

    /// Resets every open connection.
    pub fn break_all(&self) {
        self.relay.break_all();
    }

    /// Sends new connections to another server.
    pub fn retarget(&self, target: SocketAddr) {
        self.relay.retarget(target);
    }

    /// Connections open right now.
    pub fn open(&self) -> usize {
        self.relay.open()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// Shorter than a TLS handshake now and then, longer than several round trips most of the time: both what was sent
// and what was acknowledged gets lost.
const CUT_AFTER: Range<Duration> = Duration::from_millis(30)..Duration::from_millis(250);

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[cfg(test)]
mod tests;
