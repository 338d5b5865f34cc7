//! Reviews of tokens by the address that sends them, so that nobody who sends what is no token makes others wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Denied;

/// Turns of each address; those of one that nobody waits or asks for are forgotten.
#[derive(Debug, Default)]
pub(super) struct Shares {
    turns: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

// === impl Shares ===

impl Shares {
    /// Waits until fewer than [`SHARE`] tokens from this address are being reviewed.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when that takes too long.
    pub(super) async fn turn(&self, from: IpAddr) -> Result<OwnedSemaphorePermit, Denied> {
        match timeout(TURN_WITHIN, self.of(from).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Denied::Unavailable(
                "too many tokens from this address are being reviewed; try again later".into(),
            )),
        }
    }

    fn of(&self, from: IpAddr) -> Arc<Semaphore> {
        let network = network(from);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = turns.get(&network).and_then(Weak::upgrade) {
            return known;
        }
        // There are no more than connections.
        turns.retain(|_, turns| turns.strong_count() > 0);
        let new = Arc::new(Semaphore::new(SHARE));
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

    #[test]
    fn addresses_of_one_network_of_ipv6_share() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("::1"), of("::2"));
    }
}
