//! A store of leases in memory, whose clock is the runtime's. Each replica has a way to it of its own, which fails as a
//! test says.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::store::{
    Bucket, Hint, Instance, Lease, Leases, Renewal, Replica, Roster, Slot, StoreError,
};

/// What a call does instead of its work.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Error,
    Hang,
    Panic,
}

#[derive(Clone)]
pub(super) struct Fake {
    world: Arc<Mutex<World>>,
    fault: Arc<Mutex<Option<Fault>>>,
    rounds: Arc<AtomicUsize>,
    hints: broadcast::Sender<Hint>,
}

struct World {
    replicas: BTreeMap<u16, (Replica, Instant)>,
    leases: Vec<Lease>,
}

impl Fake {
    pub(super) fn new() -> Self {
        let leases = Bucket::all().map(|bucket| Lease {
            bucket,
            owner: None,
            term: 0,
        });
        Self {
            world: Arc::new(Mutex::new(World {
                replicas: BTreeMap::new(),
                leases: leases.collect(),
            })),
            fault: Arc::default(),
            rounds: Arc::default(),
            hints: broadcast::channel(16).0,
        }
    }

    /// Another way to the same store. Its hints are heard by nobody else, as between processes.
    pub(super) fn handle(&self) -> Self {
        Self {
            world: self.world.clone(),
            fault: Arc::default(),
            rounds: Arc::default(),
            hints: broadcast::channel(16).0,
        }
    }

    pub(super) fn fail(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    pub(super) fn slots(&self) -> Vec<(u16, String)> {
        let world = self.world();
        let rows = world.replicas.values();
        rows.map(|(replica, _)| (replica.slot, replica.name.clone()))
            .collect()
    }

    pub(super) fn terms(&self) -> Vec<i64> {
        self.world().leases.iter().map(|lease| lease.term).collect()
    }

    pub(super) fn expires(&self, slot: u16) -> Instant {
        self.world().replicas[&slot].1
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    async fn gate(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(StoreError::Closed),
            Some(Fault::Hang) => pending().await,
            Some(Fault::Panic) => panic!("a fault of the test"),
        }
    }
}

impl Leases for Fake {
    async fn take_slot(
        &self,
        instance: &Instance,
        name: &str,
        slots: u16,
        ttl: Duration,
    ) -> Result<Slot, StoreError> {
        self.gate().await?;
        let (mut world, now) = (self.world(), Instant::now());
        let free = |slot: &u16| match world.replicas.get(slot) {
            None => true,
            Some((_, expires)) => *expires < now,
        };
        let unused = |slot: &u16| !world.replicas.contains_key(slot);
        let slot = (0..slots).find(unused).or_else(|| (0..slots).find(free));
        let Some(slot) = slot else {
            let rows = world.replicas.values();
            return Ok(Slot::Full(
                rows.map(|(replica, _)| replica.clone()).collect(),
            ));
        };
        let (instance, name) = (instance.clone(), name.to_owned());
        let replica = Replica {
            slot,
            instance,
            name,
        };
        world.replicas.insert(slot, (replica, now + ttl));
        Ok(Slot::Taken(slot))
    }

    async fn renew(&self, replica: &Replica, ttl: Duration) -> Result<Renewal, StoreError> {
        self.gate().await?;
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let (mut world, now) = (self.world(), Instant::now());
        match world.replicas.get_mut(&replica.slot) {
            Some((held, expires)) if held.instance == replica.instance => {
                let late = *expires < now;
                *expires = now + ttl;
                Ok(if late { Renewal::Late } else { Renewal::Kept })
            }
            Some((held, _)) => Ok(Renewal::Lost {
                to: Some(held.name.clone()),
            }),
            None => {
                let row = (replica.clone(), now + ttl);
                world.replicas.insert(replica.slot, row);
                Ok(Renewal::Late)
            }
        }
    }

    async fn remove_expired(&self, replica: &Replica) -> Result<u64, StoreError> {
        self.gate().await?;
        let (mut world, now) = (self.world(), Instant::now());
        let before = world.replicas.len();
        world
            .replicas
            .retain(|_, (held, expires)| *expires >= now || held.instance == replica.instance);
        Ok((before - world.replicas.len()) as u64)
    }

    async fn roster(&self) -> Result<Roster, StoreError> {
        self.gate().await?;
        let world = self.world();
        let rows = world.replicas.values();
        Ok(Roster {
            replicas: rows.map(|(replica, _)| replica.clone()).collect(),
            leases: world.leases.clone(),
        })
    }

    async fn take(
        &self,
        replica: &Replica,
        buckets: Vec<Bucket>,
    ) -> Result<Vec<(Bucket, i64)>, StoreError> {
        self.gate().await?;
        let mut world = self.world();
        let here: Vec<Instance> = world
            .replicas
            .values()
            .map(|(r, _)| r.instance.clone())
            .collect();
        let mut taken = Vec::new();
        for bucket in buckets {
            let lease = &mut world.leases[usize::from(bucket.number())];
            if lease
                .owner
                .as_ref()
                .is_none_or(|owner| !here.contains(owner))
            {
                lease.owner = Some(replica.instance.clone());
                lease.term += 1;
                taken.push((bucket, lease.term));
            }
        }
        Ok(taken)
    }

    async fn give_back(&self, replica: &Replica, buckets: Vec<Bucket>) -> Result<(), StoreError> {
        self.gate().await?;
        for lease in &mut self.world().leases {
            if buckets.contains(&lease.bucket) && lease.owner.as_ref() == Some(&replica.instance) {
                lease.owner = None;
            }
        }
        let _ = self.hints.send(Hint::Replicas);
        Ok(())
    }

    async fn leave(&self, replica: &Replica) -> Result<(), StoreError> {
        self.give_back(replica, Bucket::all().collect()).await?;
        self.world()
            .replicas
            .retain(|_, (held, _)| held.instance != replica.instance);
        Ok(())
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}
