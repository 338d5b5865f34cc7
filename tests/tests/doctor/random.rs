//! Random set-ups, healthy and broken: no fault is overlooked, and nothing healthy is called broken.
//!
//! One broker has them all; each set-up has its own certificate, policy and client id. `DOCTOR_SETUPS` says how many are
//! made, and the seed that is printed makes the same ones again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use jiff::SignedDuration;
use link::clock::Clock;
use link::iot::{Document, PolicyAction};
use rand::RngExt as _;
use rand::rngs::StdRng;
use sandbox::broker::CertificateState::{self, Active, Inactive, Revoked};
use sandbox::pki::{Authority, CertificateRequest};
use tests::seed;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bed::{Bed, Mounted, faults, run};
use crate::setup::{agent, bridge, operator, with_all, without};

/// Whose place the doctor takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Operator,
    Agent,
    Bridge,
}

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Unregistered,
    Inactive,
    Revoked,
    NoPolicy,
    OtherClientId,
    NoSubscribe,
    NoPublish,
    NoReceive,
    AnyClientId,
    AnyPublish,
    AnySubscribe,
    DeepTopic,
    LargePayload,
    OtherSource,
    KeyOfAnother,
    NoCertificate,
    EmptyKey,
    JsonCertificate,
    OtherAuthority,
    Expired,
    ClosedPort,
}

/// A set-up.
#[derive(Clone, Debug)]
struct Setup {
    number: usize,
    place: Place,
    aws: bool,
    faults: BTreeSet<Fault>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_random_setup_gets_a_false_green_or_a_false_red() -> Result<()> {
    let count = std::env::var("DOCTOR_SETUPS").ok();
    let count = count.and_then(|text| text.parse().ok()).unwrap_or(SETUPS);
    let mut random = seed::rng("doctor");
    let bed = Arc::new(Bed::new("doctor-random").await?);
    std::fs::write(bed.dir.path().join("large.json"), "x".repeat(131_073))?;
    std::fs::write(
        bed.dir.path().join("other.yaml"),
        "topics:\n  sourceEvents: sources/other/consumers/+/sourceevents\n  agentEvents: sources/other/consumers/+/agentevents\n",
    )?;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let begun = Instant::now();
    let mut running = JoinSet::new();
    let mut broken = 0;
    for number in 0..count {
        let setup = Setup::random(number, &mut random);
        broken += usize::from(!setup.faults.is_empty());
        let (bed, turns) = (bed.clone(), turns.clone());
        running.spawn(async move {
            let _turn = turns.acquire().await?;
            setup.check(&bed).await
        });
    }
    let mut wrong = Vec::new();
    while let Some(done) = running.join_next().await {
        wrong.extend(done??);
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    eprintln!(
        "{count} set-ups, {broken} broken, {:.1} s",
        begun.elapsed().as_secs_f32()
    );
    if let Some(bed) = Arc::into_inner(bed) {
        bed.dir.passed();
    }
    Ok(())
}

// === impl Setup ===

impl Setup {
    fn random(number: usize, random: &mut StdRng) -> Self {
        let place = [Place::Operator, Place::Agent, Place::Bridge][random.random_range(0..3)];
        let mut setup = Self {
            number,
            place,
            // An agent that AWS knows as absent is a fault of its own.
            aws: place != Place::Agent && random.random_bool(0.5),
            faults: BTreeSet::new(),
        };
        if random.random_bool(0.3) {
            return setup;
        }
        let wanted = random.random_range(1..=3);
        for _ in 0..50 {
            let fault = Fault::ALL[random.random_range(0..Fault::ALL.len())];
            if fault.fits(&setup) {
                setup.faults.insert(fault);
            }
            if setup.faults.len() == wanted {
                break;
            }
        }
        setup
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    // What is wrong with the answer, if anything.
    async fn check(&self, bed: &Bed) -> Result<Option<String>> {
        let mounted = self.make(bed)?;
        let options = self.options(bed);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        // Bound, so that nobody else listens there.
        let closed = TcpSocket::new_v4()?;
        closed.bind(([127, 0, 0, 1], 0).into())?;
        let port = match self.has(Fault::ClosedPort) {
            true => closed.local_addr()?.port(),
            false => bed.broker.local_addr().port(),
        };
        let report = run(&mounted.path, port, &options).await?;
        let found = faults(&report);
        let may: BTreeSet<u16> = self
            .faults
            .iter()
            .flat_map(|fault| fault.codes(self).iter().copied())
            .collect();
        let red: Vec<_> = found.iter().filter(|code| !may.contains(code)).collect();
        let green = found.is_empty() && !self.faults.is_empty();
        Ok((green || !red.is_empty()).then(|| {
            let worst = report
                .findings
                .iter()
                .filter(|it| found.contains(&it.code.number()));
            let worst: Vec<_> = worst
                .map(|it| format!("  {} {}", it.code, it.seen))
                .collect();
            format!(
                "{self}: {}\n{}",
                if green {
                    "a false green"
                } else {
                    "a false red"
                },
                worst.join("\n")
            )
        }))
    }

    fn make(&self, bed: &Bed) -> Result<Mounted> {
        let state = self.state();
        let mut request = CertificateRequest::new(&format!("setup-{}", self.number));
        if self.has(Fault::Expired) {
            let now = Clock::system().now();
            let day = SignedDuration::from_hours(24);
            request = request.valid(now - day * 2, now - day);
        }
        let mounted = bed.issued(&request, self.policy(bed)?, state)?;
        let registry = bed.broker.registry();
        if self.has(Fault::NoPolicy) {
            registry.detach_policy(&mounted.id, &mounted.policy)?;
        }
        if self.has(Fault::Unregistered) {
            registry.delete_certificate(&mounted.id, true)?;
        }
        let write = |name: &str, text: &str| std::fs::write(mounted.path.join(name), text);
        if self.has(Fault::KeyOfAnother) {
            write("privateKey", &bed.authority.client("another")?.key)?;
        }
        if self.has(Fault::NoCertificate) {
            std::fs::remove_file(mounted.path.join("certificate"))?;
        }
        if self.has(Fault::EmptyKey) {
            write("privateKey", "")?;
        }
        if self.has(Fault::JsonCertificate) {
            write("certificate", "{\"certificate\": \"x\"}")?;
        }
        if self.has(Fault::OtherAuthority) {
            write("ca.crt", Authority::new("another")?.certificate_pem())?;
        }
        Ok(mounted)
    }

    fn state(&self) -> CertificateState {
        if self.has(Fault::Revoked) {
            Revoked
        } else if self.has(Fault::Inactive) || self.has(Fault::Unregistered) {
            Inactive
        } else {
            Active
        }
    }

    fn policy(&self, bed: &Bed) -> Result<Document> {
        let arn = bed.arn();
        let mut document = match self.place {
            Place::Operator => operator(&arn)?,
            Place::Agent => agent(&arn, &self.consumer())?,
            Place::Bridge => bridge(&arn, &self.consumer())?,
        };
        for (fault, action) in [
            (Fault::OtherClientId, PolicyAction::Connect),
            (Fault::NoSubscribe, PolicyAction::Subscribe),
            (Fault::NoPublish, PolicyAction::Publish),
            (Fault::NoReceive, PolicyAction::Receive),
        ] {
            if self.has(fault) {
                document = without(document, action);
            }
        }
        for (fault, action) in [
            (Fault::AnyClientId, PolicyAction::Connect),
            (Fault::AnyPublish, PolicyAction::Publish),
            (Fault::AnySubscribe, PolicyAction::Subscribe),
        ] {
            if self.has(fault) {
                document = with_all(document, action, &arn);
            }
        }
        Ok(document)
    }

    fn options(&self, bed: &Bed) -> Vec<String> {
        let mut options: Vec<String> = ["-W", "60", "--watch", "0.01"].map(String::from).into();
        let mut add = |more: &[&str]| options.extend(more.iter().map(|it| (*it).to_owned()));
        match self.place {
            Place::Operator if self.has(Fault::DeepTopic) => {
                add(&["--topic", "test/1/2/3/4/5/6/7/8"]);
            }
            Place::Operator => {}
            Place::Agent => add(&["--take-over", "--consumer", &self.consumer()]),
            Place::Bridge => add(&["--take-over", "--source", &self.consumer()]),
        }
        let file = |name: &str| bed.dir.path().join(name).to_string_lossy().into_owned();
        if self.has(Fault::LargePayload) {
            add(&["--payload", &file("large.json")]);
        }
        if self.has(Fault::OtherSource) {
            add(&["--config", &file("other.yaml")]);
        }
        if self.aws {
            add(&["--aws-endpoint", &bed.control.url()]);
        }
        options
    }

    fn consumer(&self) -> String {
        format!("setup-{}", self.number)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aws = if self.aws { " with AWS" } else { "" };
        write!(
            f,
            "set-up {} ({:?}{aws}) with {:?}",
            self.number, self.place, self.faults
        )
    }
}

// === impl Fault ===

impl Fault {
    const ALL: [Self; 21] = [
        Self::Unregistered,
        Self::Inactive,
        Self::Revoked,
        Self::NoPolicy,
        Self::OtherClientId,
        Self::NoSubscribe,
        Self::NoPublish,
        Self::NoReceive,
        Self::AnyClientId,
        Self::AnyPublish,
        Self::AnySubscribe,
        Self::DeepTopic,
        Self::LargePayload,
        Self::OtherSource,
        Self::KeyOfAnother,
        Self::NoCertificate,
        Self::EmptyKey,
        Self::JsonCertificate,
        Self::OtherAuthority,
        Self::Expired,
        Self::ClosedPort,
    ];

    /// Whether it is one there, and would show if it were the only one: of two that are opposites the second is none.
    fn fits(self, setup: &Setup) -> bool {
        let opposite = match self {
            Self::OtherClientId => Some(Self::AnyClientId),
            Self::AnyClientId => Some(Self::OtherClientId),
            Self::NoSubscribe => Some(Self::AnySubscribe),
            Self::AnySubscribe => Some(Self::NoSubscribe),
            Self::NoPublish => Some(Self::AnyPublish),
            Self::AnyPublish => Some(Self::NoPublish),
            _ => None,
        };
        if opposite.is_some_and(|opposite| setup.has(opposite)) {
            return false;
        }
        match self {
            // Where nothing comes back only the attached policies tell.
            Self::NoReceive => setup.place == Place::Operator || setup.aws,
            Self::DeepTopic => setup.place == Place::Operator,
            Self::OtherSource => setup.place == Place::Bridge,
            _ => true,
        }
    }

    /// The codes that may be said of it.
    fn codes(self, setup: &Setup) -> &'static [u16] {
        match (self, setup.aws) {
            (Self::Unregistered | Self::Inactive | Self::Revoked, true) => &[301],
            (Self::NoPolicy, true) => &[302],
            (Self::OtherClientId, true) => &[303],
            (
                Self::Unregistered
                | Self::Inactive
                | Self::Revoked
                | Self::NoPolicy
                | Self::OtherClientId,
                false,
            ) => &[300],
            (Self::NoSubscribe, _) => &[321],
            (Self::NoPublish, _) => &[331],
            (Self::NoReceive, _) => &[341],
            (Self::AnyClientId, _) => &[311],
            (Self::AnyPublish, _) => &[312],
            (Self::AnySubscribe, _) => &[313],
            // The policy of an operator covers it; the broker refuses it at each step.
            (Self::DeepTopic, _) => &[323],
            (Self::LargePayload, _) => &[332],
            (Self::OtherSource, _) => &[401],
            (Self::KeyOfAnother, _) => &[111],
            (Self::NoCertificate, _) => &[101],
            (Self::EmptyKey, _) => &[102],
            (Self::JsonCertificate, _) => &[103],
            (Self::OtherAuthority, _) => &[223],
            (Self::Expired, _) => &[112],
            (Self::ClosedPort, _) => &[213],
        }
    }
}

// How many are made where nobody says; a second has about twenty in a debug build on two cores.
const SETUPS: usize = 200;

// More wait for each other's handshakes.
const AT_ONCE: usize = 16;
