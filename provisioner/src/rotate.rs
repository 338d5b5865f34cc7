//! Replaces a party's certificate without interruption: the old one is removed once every client was seen with the new
//! one.
//!
//! 1. *Issue*: a new key and certificate beside the old one; both work.
//! 2. *Prove*: a witness (a temporary MQTT client with a certificate of its own) subscribes to IoT Core's presence events
//!    until every client has connected with the new one. It subscribes before the new one is delivered, so that no
//!    connection is missed.
//! 3. *Finish*: the old certificate is detached, made INACTIVE and deleted.
//!
//! **Invariant:** a certificate that a person revoked or deactivated is evidence and stays; only `destroy` removes it.
//!
//! Where a rotation stands follows from AWS (`identity::state`), so the command may end at any point and be run again.

use std::time::Duration;

use link::clock::Clock;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use crate::aws::Cloud;
use crate::enroll::{self, Requested};
use crate::identity::observation::{IdentityObservation, observe};
use crate::identity::registry::Registry;
use crate::identity::secret::IdentitySecret;
use crate::identity::state::{RotationPhase, Superseded, rotation};
use crate::identity::{IdentityError, IdentitySpec, ProgressFn, key, own};

use self::proof::Proof;
use self::witness::Witness;

mod proof;
mod witness;

/// How to rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateOptions {
    /// Port of the broker, as clients use it.
    pub port: u16,
    /// How long clients may take to show the new certificate.
    pub deadline: Duration,
    /// How long nobody may be heard with another certificate once as many clients as are in use have the new one, where
    /// there are more client ids than that: what a new certificate takes to reach every pod. Besides the deadline.
    pub settle: Duration,
    /// End the connections of clients that were not seen, so that they connect again and show their certificate: at
    /// once when a rotation is resumed, and again every twenty minutes. Each costs the client a few seconds offline.
    pub reconnect: bool,
    /// Remove the old certificate without having seen a single client with the new one. Whatever still uses the old
    /// one is locked out.
    pub without_proof: bool,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The certificate in use.
    pub certificate: String,
    /// Whether it was issued by this run.
    pub issued: bool,
    /// Certificates that were removed.
    pub removed: Vec<String>,
}

/// Rotates, from wherever an earlier run stopped.
///
/// # Errors
/// [`IdentityError::Unseen`] when the deadline passes; the rotation is then in its second phase, and both certificates work.
pub async fn rotate(
    cloud: &Cloud,
    party: &IdentitySpec,
    options: RotateOptions,
    clock: &Clock,
    progress: ProgressFn<'_>,
) -> Result<Rotated, IdentityError> {
    let mut rotator = Rotator {
        cloud,
        party,
        secret: IdentitySecret::of(cloud, party)?,
        registry: Registry::of(cloud)?,
        options,
        clock,
        progress,
        witness: None,
    };
    let outcome = Box::pin(rotator.run()).await;
    let Some(witness) = rotator.witness else {
        return outcome;
    };
    let left = witness.stop(rotator.registry, cloud).await;
    match (outcome, left) {
        (Ok(_), Err(error)) => Err(error),
        // What went wrong first is the better answer; the next run removes what is left of the witness.
        (outcome, _) => outcome,
    }
}

struct Rotator<'a> {
    cloud: &'a Cloud,
    party: &'a IdentitySpec,
    secret: IdentitySecret<'a>,
    registry: Registry<'a>,
    options: RotateOptions,
    clock: &'a Clock,
    progress: ProgressFn<'a>,
    witness: Option<Witness>,
}

// === impl Rotator ===

impl Rotator<'_> {
    async fn run(&mut self) -> Result<Rotated, IdentityError> {
        let observation = observe(self.cloud, self.party).await?;
        enroll::check_owner(self.party, &observation)?;
        if observation
            .stored()
            .is_none_or(|stored| stored.leaf.is_none())
        {
            return Err(IdentityError::NoCertificate {
                party: self.party.key_scope.clone(),
            });
        }
        let begin = self.phase(&observation).await? == RotationPhase::Issue;
        let replaced = active_id(&observation).filter(|_| begin);
        if begin {
            self.issue().await?;
        }
        // Seen anew: what was in use a moment ago is what has to go now.
        let observation = observe(self.cloud, self.party).await?;
        let current = current_id(&observation).ok_or_else(|| IdentityError::NoCertificate {
            party: self.party.key_scope.clone(),
        })?;
        let (mut old, leftover) = match self.phase(&observation).await? {
            RotationPhase::Issue => (vec![], vec![]),
            RotationPhase::Finish { leftover } => (vec![], leftover),
            RotationPhase::Prove { old, leftover } => (old, leftover),
        };
        // Known from before, so it does not depend on what the secret remembers.
        let replaced = replaced.filter(|id| *id != current && !old.contains(id));
        old.extend(replaced);
        if !old.is_empty() {
            self.prove(&current, begin).await?;
        }
        let removed = [old, leftover].concat();
        for id in &removed {
            self.registry.retire(id).await?;
            (self.progress)(&format!("certificate `{id}` is removed"));
        }
        Ok(Rotated {
            certificate: current,
            issued: begin,
            removed,
        })
    }

    async fn phase(
        &self,
        observation: &IdentityObservation,
    ) -> Result<RotationPhase, IdentityError> {
        let own = own::certificates(self.secret, self.registry, self.party).await?;
        let current = current_id(observation);
        let mut superseded = Vec::new();
        for certificate in own {
            if Some(&certificate.id) == current.as_ref() {
                continue;
            }
            // Asked of the certificate: the party's policy may have had another name when it was attached.
            let policies = self.registry.policies(&certificate.arn).await?;
            superseded.push(Superseded {
                attached: !policies.is_empty(),
                id: certificate.id,
                status: certificate.status,
            });
        }
        Ok(rotation(observation.waiting().is_some(), &superseded))
    }

    async fn issue(&mut self) -> Result<(), IdentityError> {
        let options = enroll::EnrollOptions {
            renew: true,
            new_key: false,
        };
        let requested = enroll::request(self.cloud, self.party, options, self.clock).await?;
        let Requested::Request(request) = requested else {
            return Ok(());
        };
        let account = self.secret.account().id.clone();
        let signed = enroll::sign(self.cloud, self.party, &request, &account).await?;
        (self.progress)(&format!(
            "certificate `{}` is issued; the old one stays in service",
            signed.certificate_id
        ));
        if !self.options.without_proof {
            self.listen().await?;
        }
        enroll::complete(self.cloud, self.party, &signed).await?;
        (self.progress)(&format!(
            "the new certificate is in secret `{}`; pods see it at the next poll of the CSI driver",
            self.party.secret
        ));
        Ok(())
    }

    async fn listen(&mut self) -> Result<&mut Witness, IdentityError> {
        let witness = match self.witness.take() {
            Some(witness) => witness,
            None => {
                let (port, now) = (self.options.port, self.clock.now());
                let starting = Witness::start(self.cloud, self.registry, self.party, port, now);
                let witness = Box::pin(starting).await?;
                (self.progress)("a witness listens for connections");
                witness
            }
        };
        Ok(self.witness.insert(witness))
    }

    // `fresh`: the witness has listened since before the new certificate was delivered.
    async fn prove(&mut self, certificate: &str, fresh: bool) -> Result<(), IdentityError> {
        if self.options.without_proof {
            (self.progress)("nobody was asked whether the new certificate is in use");
            return Ok(());
        }
        let (progress, options) = (self.progress, self.options);
        let (registry, party) = (self.registry, self.party);
        let mut proof = Proof::new(certificate, &party.client_ids, party.in_use);
        let deadline = Instant::now() + options.deadline;
        let first = match fresh {
            true => Instant::now() + RECONNECT_EVERY,
            false => Instant::now(),
        };
        let mut again = interval_at(first, RECONNECT_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let witness = self.listen().await?;
        let mut told = None;
        loop {
            let now = Instant::now();
            let good = proof.good_at(now, options.settle);
            if good.is_some_and(|good| good <= now) {
                return Ok(());
            }
            if good.is_some() && good != told {
                let seconds = options.settle.as_secs();
                progress(&format!(
                    "as many clients as are in use have the new certificate; listening {seconds} s for others"
                ));
            }
            told = good;
            let event = async {
                tokio::select! {
                    event = witness.next() => Some(event),
                    _ = again.tick(), if options.reconnect => None,
                }
            };
            match timeout_at(good.unwrap_or(deadline), event).await {
                Ok(Some(Some(event))) => {
                    if let Some(client) = proof.note(&event) {
                        progress(&format!("client `{client}` uses the new certificate"));
                    }
                }
                Ok(None) => {
                    for client in proof.unseen() {
                        progress(&format!("ending the connection of client `{client}`"));
                        registry.disconnect(&client, false).await?;
                    }
                }
                Err(_) if good.is_some() => {}
                Ok(Some(None)) | Err(_) => {
                    return Err(IdentityError::Unseen {
                        party: party.key_scope.clone(),
                        certificate: certificate.to_owned(),
                        unseen: proof.unseen(),
                        all: party.client_ids.len(),
                        in_use: party.in_use,
                    });
                }
            }
        }
    }
}

fn current_id(observation: &IdentityObservation) -> Option<String> {
    let listed = observation.registry.as_ref()?;
    if let Some(current) = &listed.current {
        return Some(current.id.clone());
    }
    let leaf: &key::Leaf = observation.stored()?.leaf.as_ref()?;
    Some(leaf.likely_id())
}

// The certificate in use, if it works.
fn active_id(observation: &IdentityObservation) -> Option<String> {
    let current = observation.registry.as_ref()?.current.as_ref()?;
    current.is_active().then(|| current.id.clone())
}

/// What a rotation waits for clients by default: the CSI driver may look at the secret once an hour, and an
/// agent at its files a little later.
pub const DEADLINE: Duration = Duration::from_secs(90 * 60);

// IoT Core admits a client id again every ten seconds; this is for clients that had not got the new files yet.
const RECONNECT_EVERY: Duration = Duration::from_secs(20 * 60);
