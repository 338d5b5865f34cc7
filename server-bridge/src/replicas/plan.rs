//! Computes which buckets a replica takes and gives back. Pure.
//!
//! Every replica computes the same from the same roster. Shares differ by one at most, the larger ones go to those that
//! own most already, and only what is above a share moves: so the fewest buckets move, and none that needs not.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::store::{Bucket, Instance, Roster};

/// What one replica is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Buckets of nobody who is there.
    pub take: Vec<Bucket>,
    /// Own buckets that others are to have.
    pub give: Vec<Bucket>,
}

/// What `me` is to do as things are. Nothing if it is not among the replicas.
pub fn plan(me: &Instance, roster: &Roster) -> Plan {
    let mut replicas: Vec<_> = roster.replicas.iter().collect();
    replicas.sort_by_key(|replica| replica.slot);
    let index: HashMap<&Instance, usize> = replicas
        .iter()
        .enumerate()
        .map(|(index, replica)| (&replica.instance, index))
        .collect();
    let Some(&mine) = index.get(me) else {
        return Plan::default();
    };
    let mut owned = vec![Vec::new(); replicas.len()];
    let mut free = Vec::new();
    for lease in &roster.leases {
        match lease.owner.as_ref().and_then(|owner| index.get(owner)) {
            Some(&owner) => owned[owner].push(lease.bucket),
            None => free.push(lease.bucket),
        }
    }
    let counts: Vec<usize> = owned.iter().map(Vec::len).collect();
    let shares = shares(&counts, roster.leases.len());
    let missing = |index: usize| shares[index].saturating_sub(counts[index]);
    // Each takes its own part of what is free, so that two do not want the same.
    let before: usize = (0..mine).map(missing).sum();
    Plan {
        take: free.into_iter().skip(before).take(missing(mine)).collect(),
        give: owned
            .swap_remove(mine)
            .split_off(shares[mine].min(counts[mine])),
    }
}

/// How many each is to own, from how many each does.
fn shares(counts: &[usize], all: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&index| (Reverse(counts[index]), index));
    let mut shares = vec![all / counts.len(); counts.len()];
    for &index in order.iter().take(all % counts.len()) {
        shares[index] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{Lease, Replica};

    fn replica(slot: u16) -> Replica {
        Replica {
            slot,
            instance: Instance::from(format!("replica-{slot}").as_str()),
            name: format!("pod-{slot}"),
        }
    }

    fn roster(slots: &[u16], owners: &[Option<u16>]) -> Roster {
        Roster {
            replicas: slots.iter().map(|slot| replica(*slot)).collect(),
            expires: vec![0; slots.len()],
            leases: Bucket::all()
                .zip(owners)
                .map(|(bucket, owner)| Lease {
                    bucket,
                    owner: owner.map(|slot| replica(slot).instance),
                    term: 1,
                })
                .collect(),
        }
    }

    /// What the store does with a plan: takes only what nobody has who is there.
    fn carry_out(plan: &Plan, me: u16, slots: &[u16], owners: &mut [Option<u16>]) {
        for bucket in &plan.give {
            let owner = &mut owners[usize::from(bucket.number())];
            if *owner == Some(me) {
                *owner = None;
            }
        }
        for bucket in &plan.take {
            let owner = &mut owners[usize::from(bucket.number())];
            if owner.is_none_or(|owner| !slots.contains(&owner)) {
                *owner = Some(me);
            }
        }
    }

    fn counts(slots: &[u16], owners: &[Option<u16>]) -> Vec<usize> {
        let count = |slot: &u16| owners.iter().filter(|o| **o == Some(*slot)).count();
        slots.iter().map(count).collect()
    }

    #[test]
    fn a_single_replica_takes_everything_and_gives_half_to_a_second_one() {
        let all = plan(&replica(3).instance, &roster(&[3], &[None; 256]));
        assert_eq!(all.take.len(), 256);
        let two = roster(&[3, 5], &[Some(3); 256]);
        let first = plan(&replica(3).instance, &two);
        assert_eq!((first.take.len(), first.give.len()), (0, 128));
        assert_eq!(plan(&replica(5).instance, &two), Plan::default());
        assert_eq!(plan(&replica(9).instance, &two), Plan::default());
    }

    proptest! {
        #[test]
        fn whatever_was_before_every_bucket_is_soon_owned_once_in_equal_shares_and_nothing_moves_then(
            slots in proptest::collection::btree_set(0u16..64, 1..=16),
            before in proptest::collection::vec(proptest::option::of(0u16..64), 256),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 64),
        ) {
            let slots: Vec<u16> = slots.into_iter().collect();
            let mut owners = before.clone();
            // Views are as old as they may be: all replicas look, then act in any order.
            for round in 0..8 {
                let seen = roster(&slots, &owners);
                let mut turns = slots.clone();
                for (place, pick) in order.iter().enumerate().take(turns.len()) {
                    let other = pick.index(turns.len());
                    turns.swap(place, other);
                }
                turns.rotate_left(round % slots.len());
                for me in turns {
                    let plan = plan(&replica(me).instance, &seen);
                    carry_out(&plan, me, &slots, &mut owners);
                }
            }
            let shares = counts(&slots, &owners);
            prop_assert_eq!(shares.iter().sum::<usize>(), 256);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", shares);
            for me in &slots {
                let still = plan(&replica(*me).instance, &roster(&slots, &owners));
                prop_assert_eq!(still, Plan::default());
            }
            // What moved from somebody who is there is no more than what was above the shares.
            let moved = before.iter().zip(&owners).filter(|(before, now)| {
                before.is_some_and(|slot| slots.contains(&slot)) && before != now
            });
            let before = counts(&slots, &before);
            let above: usize = before.iter().zip(self::shares(&before, 256))
                .map(|(owned, share)| owned.saturating_sub(share)).sum();
            prop_assert_eq!(moved.count(), above);
        }

        #[test]
        fn shares_hold_whatever_order_replicas_come_and_go_in_and_looks_are_never_of_one_moment(
            steps in proptest::collection::vec((0u16..16, any::<bool>()), 1..60),
        ) {
            let mut slots = vec![0u16];
            let mut owners = [None; 256];
            for (slot, come) in steps {
                match (come, slots.iter().position(|s| *s == slot)) {
                    (true, None) => slots.push(slot),
                    (false, Some(at)) if slots.len() > 1 => { slots.remove(at); }
                    _ => {}
                }
                // One looks and acts, the others later.
                let me = slots[usize::from(slot) % slots.len()];
                let plan = plan(&replica(me).instance, &roster(&slots, &owners));
                carry_out(&plan, me, &slots, &mut owners);
            }
            for _ in 0..6 {
                for me in slots.clone() {
                    let plan = plan(&replica(me).instance, &roster(&slots, &owners));
                    carry_out(&plan, me, &slots, &mut owners);
                }
            }
            let shares = counts(&slots, &owners);
            prop_assert_eq!(shares.iter().sum::<usize>(), 256);
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
