//! `server-bridge verify`: looks at a region through its API and says whether what must hold holds.
//!
//! A round looks at a sample of clusters, has a canary travel to each and back, and looks again. What is found is told by
//! the codes of `link::fault`: MQ921 for canaries, MQ922 for the ledger, MQ923 for what both ends hold, MQ924 for what was
//! acknowledged. **Contract:** nothing but canaries is written, and what cannot be told is no fault: a comparison is made
//! only where nothing can have changed in between.
//!
//! **Invariant:** memory is bounded: at most `memory::MOST_BUNDLES` bundles are remembered from look to look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use link::clock::Clock;
use link::fault::{Code, Finding};
use link::http::client::{ApiClient, ApiError};
use tokio::time::Instant;

mod canary;
mod clean;
mod look;
mod memory;
mod messages;
mod metrics;
mod under_way;

pub use self::metrics::VerifyMetrics;

use self::canary::CanaryOutcome;
use self::look::{Look, SeenAgent};
use self::memory::Memory;
use self::messages::{
    all_well, could_not_clean, could_not_look, left_out, not_there, too_many_consumers,
};
use self::under_way::UnderWay;

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
    /// Consumers that are left alone, such as those that are taken out of service.
    pub except: BTreeSet<String>,
}

/// Looks at one region, round after round.
pub struct Verifier {
    api: ApiClient,
    options: VerifyOptions,
    clock: Clock,
    memory: Memory,
    /// Where the next sample begins.
    after: Option<String>,
    /// Canaries that nobody knows the end of yet.
    under_way: UnderWay,
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
    /// Bundles that are remembered for the next look.
    pub remembered: usize,
    /// Whether it could look at all.
    pub looked: bool,
    /// Clusters that could not be remembered.
    left_out: BTreeSet<String>,
}

/// A violation, with what it is about: the consumer of a canary, else a bundle or a consumer.
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
            under_way: UnderWay::default(),
            kept: BTreeMap::new(),
        }
    }

    /// One round. What cannot be reached is a finding as well.
    pub async fn round(&mut self) -> Round {
        let mut round = Round::default();
        let mut found = Vec::new();
        self.under_way.clear();
        match self.check_sample(&mut round, &mut found).await {
            Ok(()) => round.looked = true,
            Err(error) => {
                round.findings.push(could_not_look(&error));
                round.findings.extend(self.left());
            }
        }
        self.keep(found);
        round.remembered = self.memory.remembered();
        if !round.left_out.is_empty() {
            round.findings.push(left_out(round.left_out.len()));
        }
        self.conclude(&mut round);
        round
    }

    /// Takes every canary away, and waits until it is gone; the findings say of which it is not, and why the rest of them
    /// could not be looked for.
    pub async fn clean(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let done = clean::clean(&self.api, &self.options, &self.under_way, &mut findings).await;
        if let Err(error) = done {
            findings.push(could_not_clean(&error));
            findings.extend(self.left());
        }
        findings
    }

    /// What to say when a round was ended, or taking canaries away: of which of them it is not known what became.
    pub fn interrupted(&self) -> Finding {
        let Some(ids) = self.on_their_way() else {
            return Finding::info(VERIFIED, "Interrupted; no canary was on its way");
        };
        let seen = format!("Interrupted while canaries were on their way: {ids}");
        Finding::warning(VERIFIED, seen)
            .why("they stay, and whether they arrive nobody looks at any more")
            .next("`server-bridge verify` goes on with them, `server-bridge verify --clean` takes them away")
    }

    fn left(&self) -> Option<Finding> {
        let ids = self.on_their_way()?;
        let seen = format!("Canaries that were on their way then: {ids}");
        Some(Finding::info(VERIFIED, seen))
    }

    /// The canaries of which it is not known what became, if any.
    fn on_their_way(&self) -> Option<String> {
        let ids = self.under_way.ids();
        let shown: Vec<String> = ids.iter().take(SHOWN).map(|id| format!("`{id}`")).collect();
        let more = match ids.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!ids.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
    }

    async fn check_sample(
        &mut self,
        round: &mut Round,
        found: &mut Vec<Violation>,
    ) -> Result<(), ApiError> {
        let mut names = look::consumers(&self.api).await?;
        let unknown = self
            .options
            .except
            .iter()
            .filter(|name| !names.contains(name));
        round.findings.extend(unknown.map(|name| not_there(name)));
        if names.len() > look::MOST_CONSUMERS {
            round.findings.push(too_many_consumers());
            names.truncate(look::MOST_CONSUMERS);
        }
        names.retain(|name| !self.options.except.contains(name));
        self.memory.keep_only(&names);
        self.kept
            .retain(|(code, subject), _| *code != CANARY || names.binary_search(subject).is_ok());
        let sample = self.sample(&names);
        let seen = self.look(&sample, round, found).await?;
        if self.options.canary.is_none() {
            return Ok(());
        }
        self.check_canaries(&seen, round, found).await?;
        self.look(&sample, round, found).await?;
        Ok(())
    }

    /// Sends canaries to these clusters and waits for them. Whatever fails, what was acknowledged and what was seen by then
    /// is kept.
    async fn check_canaries(
        &mut self,
        seen: &[(String, SeenAgent)],
        round: &mut Round,
        found: &mut Vec<Violation>,
    ) -> Result<(), ApiError> {
        let (api, options) = (&self.api, &self.options);
        let (mut sent, mut ended) =
            canary::send(api, options, seen, &self.memory, &self.under_way).await;
        for outcome in &sent {
            if let Some((id, version)) = &outcome.acknowledged {
                self.memory.note_canary(&outcome.consumer, id, *version);
            }
        }
        if ended.is_ok() {
            let told = (&self.clock, &self.under_way);
            ended = canary::wait(api, options, &mut sent, told).await;
        }
        // A consumer that was removed meanwhile took its canary along.
        let still = match ended {
            Ok(()) => look::consumers(api).await,
            Err(error) => Err(error),
        };
        // What became of one that is under way yet nobody knows.
        for outcome in sent.into_iter().filter(|outcome| !outcome.is_under_way()) {
            let is_there = |names: &Vec<String>| names.binary_search(&outcome.consumer).is_ok();
            match still.as_ref().is_ok_and(|names| !is_there(names)) {
                true => self.memory.forget_canary(&outcome.consumer),
                false => self.take(outcome, round, found),
            }
        }
        still.map(drop)
    }

    /// What became of a canary.
    fn take(&mut self, outcome: CanaryOutcome, round: &mut Round, found: &mut Vec<Violation>) {
        let consumer = &outcome.consumer;
        if outcome.is_counted() {
            *round.checked.entry(CANARY).or_default() += 1;
        }
        // What is tried again, or taken away, says how this cluster is; of the others nothing new is known.
        if outcome.is_counted() || outcome.is_gone {
            self.kept.remove(&(CANARY, consumer.clone()));
        }
        round.slowest = round.slowest.max(outcome.took);
        if outcome.is_gone {
            self.memory.forget_canary(consumer);
        } else if let Some((id, version)) = &outcome.acknowledged {
            self.memory.note_canary(consumer, id, *version);
        }
        round.findings.extend(outcome.note);
        found.extend(outcome.violations);
    }

    /// Looks at these consumers and compares each as it is read. The agents of those that are there.
    async fn look(
        &mut self,
        sample: &[String],
        round: &mut Round,
        found: &mut Vec<Violation>,
    ) -> Result<Vec<(String, SeenAgent)>, ApiError> {
        let mut seen = Vec::new();
        for some in sample.chunks(look::AT_ONCE) {
            for (consumer, before) in look::agents(&self.api, some).await? {
                if let Some(look) = look::look(&self.api, consumer, before).await? {
                    self.compare(&look, round, found);
                    seen.push((look.consumer, look.after));
                }
            }
        }
        Ok(seen)
    }

    fn compare(&mut self, look: &Look, round: &mut Round, found: &mut Vec<Violation>) {
        let compared = self.memory.compare(look);
        *round.checked.entry(LEDGER).or_default() += compared.ledgers;
        *round.checked.entry(ACKNOWLEDGED).or_default() += compared.bundles;
        *round.checked.entry(DIGEST).or_default() += compared.digests;
        if compared.left_out {
            round.left_out.insert(look.consumer.clone());
        }
        found.extend(compared.violations);
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
        // A canary's stays until the cluster's next one, however many rounds away that is.
        self.kept
            .retain(|(code, _), (since, _)| *code == CANARY || now.duration_since(*since) < KEPT);
        let mut counts: BTreeMap<Code, usize> = BTreeMap::new();
        for (code, _) in self.kept.keys() {
            *counts.entry(*code).or_default() += 1;
        }
        for violation in found {
            let key = (violation.finding.code, violation.subject);
            let count = counts.entry(key.0).or_default();
            if !self.kept.contains_key(&key) {
                if *count >= MOST_KEPT {
                    continue;
                }
                *count += 1;
            }
            self.kept.insert(key, (now, violation.finding));
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

/// The invariants, in the order in which they are told.
pub const INVARIANTS: [Code; 4] = [CANARY, LEDGER, DIGEST, ACKNOWLEDGED];

#[cfg(test)]
mod tests;

// What went back is seen once; an alert and a person need longer.
const KEPT: Duration = Duration::from_secs(15 * 60);
// Of each invariant, so that an outage of all clusters leaves room for what is lost meanwhile; each a few hundred bytes.
const MOST_KEPT: usize = 4096;
const SHOWN: usize = 20;
