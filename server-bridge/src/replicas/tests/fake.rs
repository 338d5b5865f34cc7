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
    Bucket, Free, Hint, Instance, Lease, LeaseStore, Renewal, Replica, Roster, Slot, StoreError,
};

/// What a call does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Error,
    Hang,
    Panic,
    /// A slot is taken, and the answer does not come.
    Unanswered,
    /// Who is there cannot be read.
    Roster,
    /// Nobody is removed, and no answer comes.
    Removal,
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

    /// Another process takes a slot, whoever has it.
    pub(super) fn replace(&self, slot: u16, name: &str) {
        let replica = Replica {
            slot,
            instance: Instance::random(),
            name: name.to_owned(),
        };
        let expires = Instant::now() + super::TTL;
        self.world().insert(replica, expires).unwrap();
    }

    /// Somebody removes a row.
    pub(super) fn remove(&self, slot: u16) {
        self.world().replicas.remove(&slot);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn fails(&self, fault: Fault) -> bool {
        *self.fault.lock().unwrap() == Some(fault)
    }

    async fn gate(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            None | Some(Fault::Unanswered | Fault::Roster | Fault::Removal) => Ok(()),
            Some(Fault::Error) => Err(StoreError::Closed),
            Some(Fault::Hang) => pending().await,
            Some(Fault::Panic) => panic!("a fault of the test"),
        }
    }
}

impl World {
    fn take_slot(
        &mut self,
        instance: &Instance,
        name: &str,
        slots: u16,
        may: Free,
        ttl: Duration,
    ) -> Result<Slot, StoreError> {
        let now = Instant::now();
        let rows = self.replicas.values_mut();
        if let Some((held, expires)) = rows.into_iter().find(|row| row.0.instance == *instance) {
            *expires = now + ttl;
            return Ok(Slot::Taken(held.slot));
        }
        let free = |slot: &u16| match self.replicas.get(slot) {
            None => true,
            Some((_, expires)) => may == Free::Expired && *expires < now,
        };
        let unused = |slot: &u16| !self.replicas.contains_key(slot);
        let slot = (0..slots).find(unused).or_else(|| (0..slots).find(free));
        let Some(slot) = slot else {
            let rows = self.replicas.values();
            let held = rows.map(|(replica, _)| replica.clone());
            return Ok(Slot::Full(held.collect()));
        };
        let replica = Replica {
            slot,
            instance: instance.clone(),
            name: name.to_owned(),
        };
        self.insert(replica, now + ttl)?;
        Ok(Slot::Taken(slot))
    }

    /// No instance has two rows, as in the tables.
    fn insert(&mut self, replica: Replica, expires: Instant) -> Result<(), StoreError> {
        let mut rows = self.replicas.values();
        if rows.any(|(held, _)| held.instance == replica.instance && held.slot != replica.slot) {
            return Err(StoreError::Unavailable {
                reason: "duplicate key of replicas_instance_key".into(),
            });
        }
        self.replicas.insert(replica.slot, (replica, expires));
        Ok(())
    }
}

impl LeaseStore for Fake {
    async fn take_slot(
        &self,
        instance: &Instance,
        name: &str,
        slots: u16,
        may: Free,
        ttl: Duration,
    ) -> Result<Slot, StoreError> {
        self.gate().await?;
        let unanswered = self.fails(Fault::Unanswered);
        let slot = self.world().take_slot(instance, name, slots, may, ttl)?;
        if unanswered {
            pending::<()>().await;
        }
        Ok(slot)
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
                world.insert(replica.clone(), now + ttl)?;
                Ok(Renewal::Late)
            }
        }
    }

    async fn remove_expired(&self, replica: &Replica) -> Result<u64, StoreError> {
        self.gate().await?;
        if self.fails(Fault::Removal) {
            pending::<()>().await;
        }
        let (mut world, now) = (self.world(), Instant::now());
        let before = world.replicas.len();
        world
            .replicas
            .retain(|_, (held, expires)| *expires >= now || held.instance == replica.instance);
        Ok((before - world.replicas.len()) as u64)
    }

    async fn roster(&self) -> Result<Roster, StoreError> {
        self.gate().await?;
        if self.fails(Fault::Roster) {
            return Err(StoreError::Closed);
        }
        let world = self.world();
        let rows = world.replicas.values();
        Ok(Roster {
            replicas: rows.clone().map(|(replica, _)| replica.clone()).collect(),
            expires: rows.map(|(_, expires)| micros(*expires)).collect(),
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

/// By a clock that all share.
fn micros(at: Instant) -> i64 {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let began = *BEGAN.get_or_init(std::time::Instant::now);
    let since = at.into_std().saturating_duration_since(began);
    i64::try_from(since.as_micros()).unwrap()
}
