//! Limits of token reviews by client address, so that one address with bad tokens delays no other.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Denied;

/// The share of each address; those without a review are forgotten.
///
/// **Invariant:** of one address at most [`SHARE`] tokens are being reviewed and [`WAITING`] wait: a call that waits holds
/// its head and its token, and nobody is known yet.
#[derive(Debug)]
pub(super) struct ReviewLimiter {
    addresses: Mutex<HashMap<IpAddr, Weak<AddressShare>>>,
    /// How long a turn is waited for.
    within: Duration,
}

/// What one address has.
#[derive(Debug)]
struct AddressShare {
    reviewing: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A review that may be made; the share is remembered as long as it lasts.
#[derive(Debug)]
pub(super) struct ReviewPermit {
    _share: Arc<AddressShare>,
    _permit: OwnedSemaphorePermit,
}

// === impl ReviewLimiter ===

impl ReviewLimiter {
    /// One that has a call wait as long as an answer may take.
    pub(super) fn new(within: Duration) -> Self {
        Self {
            addresses: Mutex::default(),
            within,
        }
    }

    /// Waits until fewer than [`SHARE`] tokens from this address are being reviewed.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when that takes too long, and at once when too many wait already.
    pub(super) async fn acquire(&self, from: IpAddr) -> Result<ReviewPermit, Denied> {
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
                match timeout(self.within, reviewing.acquire_owned()).await {
                    Ok(Ok(permit)) => permit,
                    _ => return Err(busy()),
                }
            }
        };
        Ok(ReviewPermit {
            _share: share,
            _permit: permit,
        })
    }

    fn of(&self, from: IpAddr) -> Arc<AddressShare> {
        let network = network(from);
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = addresses.get(&network).and_then(Weak::upgrade) {
            return known;
        }
        // There are no more than connections.
        addresses.retain(|_, addresses| addresses.strong_count() > 0);
        let new = Arc::new(AddressShare {
            reviewing: Arc::new(Semaphore::new(SHARE)),
            waiting: Semaphore::new(WAITING),
        });
        addresses.insert(network, Arc::downgrade(&new));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_past_the_share_of_an_address_waits_and_other_addresses_do_not() {
        let limiter = ReviewLimiter::new(Duration::from_secs(5));
        let acquire = |address: &str| limiter.acquire(address.parse().unwrap());
        let mut held = Vec::new();
        for _ in 0..SHARE {
            held.push(acquire("10.0.0.1").await.unwrap());
        }
        assert!(acquire("10.0.0.2").await.is_ok());
        for same in ["10.0.0.1", "::ffff:10.0.0.1"] {
            let refused = acquire(same).await.unwrap_err();
            assert!(matches!(refused, Denied::Unavailable(_)), "{refused}");
        }
        held.pop();
        assert!(acquire("10.0.0.1").await.is_ok());
        held.clear();
        assert!(acquire("10.0.0.3").await.is_ok());
        assert_eq!(limiter.addresses.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_past_those_who_may_wait_is_refused_at_once() {
        let limiter = Arc::new(ReviewLimiter::new(Duration::from_secs(5)));
        let from: IpAddr = "10.0.0.1".parse().unwrap();
        let mut held = Vec::new();
        for _ in 0..SHARE {
            held.push(limiter.acquire(from).await.unwrap());
        }
        let began = tokio::time::Instant::now();
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let limiter = Arc::clone(&limiter);
                tokio::spawn(async move { limiter.acquire(from).await.map(drop) })
            })
            .collect();
        while limiter.of(from).waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(limiter.acquire(from).await.is_err());
        assert!(limiter.acquire("10.0.0.2".parse().unwrap()).await.is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
        held.clear();
        for acquire in waiting {
            assert!(acquire.await.unwrap().is_ok());
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
