//! Reviews of tokens by the address that sends them, so that nobody who sends what is no token makes others wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Denied;

/// Turns of each address; those of one that nobody waits or asks for are forgotten.
///
/// **Invariant:** of one address at most [`SHARE`] tokens are being reviewed and [`WAITING`] wait: a call that waits holds
/// its head and its token, and nobody is known yet.
#[derive(Debug, Default)]
pub(super) struct Shares {
    turns: Mutex<HashMap<IpAddr, Weak<Share>>>,
}

/// What one address has.
#[derive(Debug)]
struct Share {
    reviewing: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A review that may be made; the share is remembered as long as it lasts.
#[derive(Debug)]
pub(super) struct Turn {
    _share: Arc<Share>,
    _permit: OwnedSemaphorePermit,
}

// === impl Shares ===

impl Shares {
    /// Waits until fewer than [`SHARE`] tokens from this address are being reviewed.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when that takes too long, and at once when too many wait already.
    pub(super) async fn turn(&self, from: IpAddr) -> Result<Turn, Denied> {
        let busy = || {
            Denied::Unavailable(
                "too many tokens from this address are being reviewed; try again later".into(),
            )
        };
        let share = self.of(from);
        let reviewing = Arc::clone(&share.reviewing);
        let permit = match Arc::clone(&reviewing).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = share.waiting.try_acquire().map_err(|_| busy())?;
                match timeout(TURN_WITHIN, reviewing.acquire_owned()).await {
                    Ok(Ok(permit)) => permit,
                    _ => return Err(busy()),
                }
            }
        };
        Ok(Turn {
            _share: share,
            _permit: permit,
        })
    }

    fn of(&self, from: IpAddr) -> Arc<Share> {
        let network = network(from);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = turns.get(&network).and_then(Weak::upgrade) {
            return known;
        }
        // There are no more than connections.
        turns.retain(|_, turns| turns.strong_count() > 0);
        let new = Arc::new(Share {
            reviewing: Arc::new(Semaphore::new(SHARE)),
            waiting: Semaphore::new(WAITING),
        });
        turns.insert(network, Arc::downgrade(&new));
        new
    }
}

/// Of IPv6 the 64 bits that a machine cannot choose.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()
        }
        address => address,
    }
}

/// A quarter of the reviews that are under way at once.
const SHARE: usize = 8;

/// A burst of a client whose token is not known yet: Go clients send 100 calls at once, and behind a proxy there are several
/// of them. With 32 KiB of head each these are 8 MiB.
const WAITING: usize = 256;

// As long as an answer may take.
const TURN_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_past_the_share_of_an_address_waits_and_other_addresses_do_not() {
        let shares = Shares::default();
        let turn = |address: &str| shares.turn(address.parse().unwrap());
        let mut held = Vec::new();
        for _ in 0..SHARE {
            held.push(turn("10.0.0.1").await.unwrap());
        }
        assert!(turn("10.0.0.2").await.is_ok());
        for same in ["10.0.0.1", "::ffff:10.0.0.1"] {
            let refused = turn(same).await.unwrap_err();
            assert!(matches!(refused, Denied::Unavailable(_)), "{refused}");
        }
        held.pop();
        assert!(turn("10.0.0.1").await.is_ok());
        held.clear();
        assert!(turn("10.0.0.3").await.is_ok());
        assert_eq!(shares.turns.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_past_those_who_may_wait_is_refused_at_once() {
        let shares = Arc::new(Shares::default());
        let from: IpAddr = "10.0.0.1".parse().unwrap();
        let mut held = Vec::new();
        for _ in 0..SHARE {
            held.push(shares.turn(from).await.unwrap());
        }
        let began = tokio::time::Instant::now();
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let shares = Arc::clone(&shares);
                tokio::spawn(async move { shares.turn(from).await.map(drop) })
            })
            .collect();
        while shares.of(from).waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(shares.turn(from).await.is_err());
        assert!(shares.turn("10.0.0.2".parse().unwrap()).await.is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
        held.clear();
        for turn in waiting {
            assert!(turn.await.unwrap().is_ok());
        }
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_share() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("::1"), of("::2"));
    }
}
