//! `server-bridge verify`: looks at a region through its API and says whether what must hold holds.
//!
//! A round looks at a sample of clusters, has a canary travel to each and back, and looks again. What is found is told by
//! the codes of `link::fault`: MQ921 for canaries, MQ922 for the ledger, MQ923 for what both ends hold, MQ924 for what was
//! acknowledged. **Contract:** nothing but canaries is written, and what cannot be told is no fault: a comparison is made
//! only where nothing can have changed in between.
//!
//! **Invariant:** memory is bounded: at most `memory::MOST_BUNDLES` bundles are remembered from look to look.

use std::collections::BTreeMap;
use std::time::Duration;

use link::clock::Clock;
use link::error::{Hint as _, chain};
use link::fault::{Code, Finding};
use link::http::client::{ApiClient, ApiError};
use tokio::time::Instant;

mod canary;
mod look;
mod memory;
mod metrics;

pub use self::metrics::VerifyMetrics;

use self::look::Look;
use self::memory::Memory;

/// The verifier could not look, or all that it checks holds.
pub const VERIFIED: Code = Code::new(920);
/// A canary comes back in time.
pub const CANARY: Code = Code::new(921);
/// The ledger only goes forward.
pub const LEDGER: Code = Code::new(922);
/// Both ends hold the same.
pub const DIGEST: Code = Code::new(923);
/// What was acknowledged is there.
pub const ACKNOWLEDGED: Code = Code::new(924);

/// What a verifier does in each round.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Clusters in one round; the next round takes the next ones.
    pub sample: usize,
    /// What canaries are called: bundles `NAME-CONSUMER`, and the ConfigMap `NAME` in each cluster. `None` sends none.
    pub canary: Option<String>,
    /// The namespace of that ConfigMap.
    pub namespace: String,
    /// How long a canary may take.
    pub within: Duration,
}

/// Looks at one region, round after round.
pub struct Verifier {
    api: ApiClient,
    options: VerifyOptions,
    clock: Clock,
    memory: Memory,
    /// Where the next sample begins.
    after: Option<String>,
    /// What was found lately, by code and subject: what went back once and is remembered nowhere stays visible for a while.
    kept: BTreeMap<(Code, String), (Instant, Finding)>,
}

/// What one round found.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// What is said, the general finding of each invariant included.
    pub findings: Vec<Finding>,
    /// How many things were checked, by invariant.
    pub checked: BTreeMap<Code, u64>,
    /// How many violations there are, by invariant.
    pub violations: BTreeMap<Code, u64>,
    /// The time of the slowest canary.
    pub slowest: Option<Duration>,
    /// Whether it could look at all.
    pub looked: bool,
}

/// A violation, with what it is about.
struct Violation {
    subject: String,
    finding: Finding,
}

// === impl Verifier ===

impl Verifier {
    /// Of the region behind `api`.
    pub fn new(api: ApiClient, options: VerifyOptions, clock: Clock) -> Self {
        Self {
            api,
            options,
            clock,
            memory: Memory::default(),
            after: None,
            kept: BTreeMap::new(),
        }
    }

    /// One round. What cannot be reached is a finding as well.
    pub async fn round(&mut self) -> Round {
        let mut round = Round::default();
        let mut found = Vec::new();
        match self.look_around(&mut round, &mut found).await {
            Ok(()) => round.looked = true,
            Err(error) => round.findings.push(could_not_look(&error)),
        }
        self.keep(found);
        self.conclude(&mut round);
        round
    }

    /// Takes every canary away, and waits until it is gone; the findings say of which it is not.
    ///
    /// # Errors
    /// The API did not answer.
    pub async fn clean(&mut self) -> Result<Vec<Finding>, ApiError> {
        canary::clean(&self.api, &self.options).await
    }

    async fn look_around(
        &mut self,
        round: &mut Round,
        found: &mut Vec<Violation>,
    ) -> Result<(), ApiError> {
        let names = look::consumers(&self.api).await?;
        let sample = self.sample(&names);
        let before = look::look(&self.api, &sample).await?;
        self.compare(&before, round, found);
        if self.options.canary.is_none() {
            return Ok(());
        }
        let sent = canary::send(&self.api, &self.options, &before, &self.memory).await?;
        let returned = canary::wait(&self.api, &self.options, sent, &self.clock).await?;
        // A consumer that was removed meanwhile took its canary along.
        let still = look::consumers(&self.api).await?;
        for outcome in returned {
            if !still.contains(&outcome.consumer) {
                self.memory.forget_canary(&outcome.consumer);
                continue;
            }
            *round.checked.entry(CANARY).or_default() += u64::from(outcome.is_counted());
            round.slowest = round.slowest.max(outcome.took);
            if let Some((id, version)) = &outcome.acknowledged {
                self.memory.note_canary(&outcome.consumer, id, *version);
            }
            round.findings.extend(outcome.note);
            found.extend(outcome.violations);
        }
        let after = look::look(&self.api, &sample).await?;
        self.compare(&after, round, found);
        Ok(())
    }

    fn compare(&mut self, looks: &[Look], round: &mut Round, found: &mut Vec<Violation>) {
        for look in looks {
            let compared = self.memory.compare(look);
            *round.checked.entry(LEDGER).or_default() += compared.ledgers;
            *round.checked.entry(ACKNOWLEDGED).or_default() += compared.bundles;
            *round.checked.entry(DIGEST).or_default() += compared.digests;
            found.extend(compared.violations);
        }
    }

    /// The next consumers in the order of their names.
    fn sample(&mut self, names: &[String]) -> Vec<String> {
        let start = match &self.after {
            Some(after) => names.partition_point(|name| name <= after),
            None => 0,
        };
        let (first, last) = (names.iter().skip(start), names.iter().take(start));
        let sample: Vec<String> = first
            .chain(last)
            .take(self.options.sample)
            .cloned()
            .collect();
        self.after = sample.last().cloned();
        sample
    }

    fn keep(&mut self, found: Vec<Violation>) {
        let now = Instant::now();
        self.kept
            .retain(|_, (since, _)| now.duration_since(*since) < KEPT);
        // A canary is tried again in the next round, which alone says how it is.
        self.kept.retain(|(code, _), _| *code != CANARY);
        for violation in found {
            if self.kept.len() < MOST_KEPT {
                let key = (violation.finding.code, violation.subject);
                self.kept.insert(key, (now, violation.finding));
            }
        }
    }

    fn conclude(&self, round: &mut Round) {
        for code in INVARIANTS {
            let of_code = self.kept.iter().filter(|((of, _), _)| *of == code);
            let violations: Vec<&Finding> = of_code.map(|(_, (_, finding))| finding).collect();
            round.violations.insert(code, violations.len() as u64);
            let shown = violations.iter().take(SHOWN).copied().cloned();
            round.findings.extend(shown);
            if violations.len() > SHOWN {
                let more = format!("{} more of the same kind", violations.len() - SHOWN);
                round.findings.push(Finding::error(code, more));
            }
            let checked = round.checked.get(&code).copied().unwrap_or_default();
            if violations.is_empty() && round.looked {
                round.findings.push(all_well(code, checked));
            }
        }
    }
}

fn all_well(code: Code, checked: u64) -> Finding {
    let what = match code {
        CANARY => "canaries came back in time",
        LEDGER => "ledgers were compared with an earlier look, and none went back",
        DIGEST => "clusters hold by their report exactly what the server holds",
        _ => "bundles have the version that was acknowledged before, or a later one",
    };
    if checked > 0 {
        return Finding::ok(code, format!("{checked} {what}"));
    }
    let why = match code {
        CANARY => "no canary was sent",
        DIGEST => {
            "no agent has reported between two looks in which nothing changed; agents report every five minutes, so it takes \
             `--every`"
        }
        _ => "there is no earlier look to compare with, or there are no bundles",
    };
    Finding::info(code, format!("Not checked: {why}"))
}

fn could_not_look(error: &ApiError) -> Finding {
    let next = error
        .hint()
        .unwrap_or_else(|| "see whether the server is ready: `/readyz`".into());
    Finding::error(VERIFIED, chain(error))
        .why("while nobody looks, nobody knows whether the region keeps what it promises")
        .next(next)
}

/// The invariants, in the order in which they are told.
pub const INVARIANTS: [Code; 4] = [CANARY, LEDGER, DIGEST, ACKNOWLEDGED];

// What went back is seen once; an alert and a person need longer.
const KEPT: Duration = Duration::from_secs(15 * 60);
// Each a few hundred bytes.
const MOST_KEPT: usize = 4096;
const SHOWN: usize = 20;
