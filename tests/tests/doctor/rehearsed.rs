//! Each fault that the sandbox has a name for, set by that name, and the code that the doctor gives for it.
//!
//! The table is compared with the sandbox's own list: a fault there that has codes is tried here, or is named with the test
//! that makes it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;
use link::clock::Clock;
use link::iot::{ArnPrefix, Document, PolicyAction};
use sandbox::broker::CertificateState::Active;
use sandbox::pki::CertificateRequest;
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::cli::doctor;
use crate::setup::{CONSUMER, agent, operator, with_all};

/// A fault, and who looks at it.
#[derive(Clone, Copy)]
struct Rehearsal {
    /// Name and value; of several all are set.
    faults: &'static [(&'static str, &'static str)],
    by: By,
    options: &'static [&'static str],
    codes: &'static [u16],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Operator,
    /// With AWS to ask.
    OperatorWithAws,
    /// Whose certificate is over.
    Expired,
    Agent,
    /// Whose policy allows every client id.
    WideAgent,
}

use By::{Agent, Expired, Operator, OperatorWithAws, WideAgent};

const OWN_ID: &str = "cluster-1-work-agent-client";

/// Where nobody listens: the discard port.
const NOWHERE: &[&str] = &["--alpn-port", "9"];

const REHEARSALS: &[Rehearsal] = &[
    of(&[("port", "silent")], Operator, &[211]),
    of(&[("port", "closed")], Operator, &[211]),
    with(&[("port", "silent")], Operator, NOWHERE, &[212]),
    with(&[("port", "closed")], Operator, NOWHERE, &[213]),
    of(&[("handshake", "closed")], Operator, &[220]),
    of(&[("handshake", "unanswered")], Operator, &[220]),
    of(&[("handshake", "plaintext")], Operator, &[221]),
    of(&[("server-certificate", "other-root")], Operator, &[223]),
    of(&[("server-certificate", "other-name")], Operator, &[225]),
    of(&[("server-certificate", "expired")], Operator, &[226]),
    of(&[("server-name", "other.iot.invalid")], Operator, &[222]),
    of(&[("alpn", "required")], Operator, &[222]),
    with(
        &[("tls-version", "1.2")],
        Operator,
        &["--tls-version", "tlsv1.3"],
        &[224],
    ),
    of(&[("clock-skew", "10m")], Operator, &[121]),
    of(&[("certificate-dates", "checked")], Expired, &[112]),
    of(&[("certificate", "inactive")], OperatorWithAws, &[301]),
    of(&[("certificate", "revoked")], OperatorWithAws, &[301]),
    of(&[("certificate", "unknown")], OperatorWithAws, &[301]),
    of(
        &[
            ("certificate", "inactive"),
            ("certificate-refusal", "handshake"),
        ],
        Operator,
        &[301],
    ),
    of(&[("no-policy", "*")], OperatorWithAws, &[302]),
    of(&[("deny-connect", OWN_ID)], WideAgent, &[303, 311]),
    of(&[("deny-subscribe", "*")], Operator, &[321]),
    of(&[("deny-publish", "*")], Operator, &[331]),
    of(&[("deny-receive", "*")], Operator, &[341]),
    with(
        &[("takeover", "cluster-1-work-agent-client@1s")],
        Agent,
        &["--watch", "5"],
        &[304],
    ),
    of(&[("throttle-connect", "1")], Agent, &[305]),
    of(&[("swallow", "connect")], Operator, &[300]),
    of(&[("swallow", "subscribe")], Operator, &[320]),
    of(&[("swallow", "publish")], Operator, &[330]),
    of(&[("swallow", "delivery")], OperatorWithAws, &[340]),
    of(&[("hold-acks", "*")], Operator, &[330]),
    of(&[("max-subscriptions", "0")], Agent, &[322]),
    of(&[("max-topic", "16")], Operator, &[323]),
    of(&[("max-payload", "1")], Operator, &[332]),
    of(&[("throttle", "1")], Operator, &[333]),
];

/// Those that one look does not show by their name alone, and what makes them.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "policy-flap",
        "faults: a_policy_change_on_its_way_is_no_missing_statement",
    ),
    (
        "policy-spread",
        "faults: a_policy_change_on_its_way_is_no_missing_statement",
    ),
    (
        "policy-delay",
        "faults: a_policy_change_on_its_way_is_no_missing_statement",
    ),
    (
        "stalled",
        "region: an_agent_that_falls_silent_or_stops_is_told_by_the_region",
    ),
    (
        "half-open",
        "region: an_agent_that_falls_silent_or_stops_is_told_by_the_region",
    ),
    (
        "max-filters",
        "the doctor subscribes to one filter at a time, as agent and bridge do",
    ),
    ("quotas", "one look sends too little to go over a rate"),
];

const fn of(
    faults: &'static [(&'static str, &'static str)],
    by: By,
    codes: &'static [u16],
) -> Rehearsal {
    with(faults, by, &[], codes)
}

const fn with(
    faults: &'static [(&'static str, &'static str)],
    by: By,
    options: &'static [&'static str],
    codes: &'static [u16],
) -> Rehearsal {
    Rehearsal {
        faults,
        by,
        options,
        codes,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_that_has_a_name_gets_its_code_and_no_other() -> Result<()> {
    let plays = REHEARSALS
        .iter()
        .enumerate()
        .map(async |(number, rehearsal)| {
            let told = rehearsal.play(number).await;
            told.with_context(|| format!("{:?}", rehearsal.faults))
        });
    let told: Vec<Result<()>> = stream::iter(plays)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let wrong: Vec<String> = told
        .into_iter()
        .filter_map(|told| Some(format!("{:#}", told.err()?)))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn no_fault_that_has_a_name_is_left_out() -> Result<()> {
    let bed = Bed::new("doctor-names-of-faults").await?;
    let list: Value = reqwest::get(format!("{}/sandbox/faults", bed.control.url()))
        .await?
        .json()
        .await?;
    let faults = list["faults"].as_array().context("a list")?;
    let tried: BTreeSet<&str> = REHEARSALS
        .iter()
        .flat_map(|it| it.faults.iter().map(|(name, _)| *name))
        .chain(ELSEWHERE.iter().map(|(name, _)| *name))
        .collect();
    let with_codes: BTreeSet<&str> = faults
        .iter()
        .filter(|fault| fault["codes"].as_array().is_some_and(|it| !it.is_empty()))
        .filter_map(|fault| fault["name"].as_str())
        .collect();
    ensure!(
        tried == with_codes,
        "not tried: {:?}; not there: {:?}",
        with_codes.difference(&tried),
        tried.difference(&with_codes)
    );
    bed.dir.passed();
    Ok(())
}

// === impl Rehearsal ===

impl Rehearsal {
    async fn play(&self, number: usize) -> Result<()> {
        let any = "127.0.0.1:0".parse()?;
        let bed = Bed::with(&format!("doctor-rehearsed-{number}"), |config| {
            config.alpn_listen = Some(any);
        })
        .await?;
        let mut request = CertificateRequest::new("rehearsal");
        if self.by == Expired {
            let now = Clock::system().now();
            let day = SignedDuration::from_hours(24);
            request = request.valid(now - day * 2, now - day);
        }
        let mount = bed.issued(&request, self.policy(&bed.arn())?, Active)?;
        let client = reqwest::Client::new();
        for (name, value) in self.faults {
            let url = format!("{}/sandbox/faults/{name}", bed.control.url());
            let set = client.put(url).json(&json!({ "value": value }));
            let answer = set.send().await?;
            ensure!(answer.status().is_success(), "{}", answer.text().await?);
        }
        let port = bed.broker.local_addr().port().to_string();
        let beside = bed.broker.alpn_addr().context("a second port")?;
        let (beside, url) = (beside.port().to_string(), bed.control.url());
        let mount = mount.path.display().to_string();
        let mut arguments = vec!["-h", "localhost", "-p", &port, "--identity", &mount];
        // The last one counts.
        if self.options != NOWHERE {
            arguments.extend(["--alpn-port", &beside]);
        }
        arguments.extend(self.options);
        match self.by {
            Operator | Expired => {}
            OperatorWithAws => arguments.extend(["--aws-endpoint", &url]),
            Agent | WideAgent => {
                arguments.extend(["--consumer", CONSUMER, "--take-over"]);
                if !self.options.contains(&"--watch") {
                    arguments.extend(["--watch", "0.01"]);
                }
            }
        }
        let run = doctor(&bed.dir, &arguments, &[]).await?;
        run.says_only(self.codes)?;
        bed.dir.passed();
        Ok(())
    }

    fn policy(&self, arn: &ArnPrefix) -> Result<Document> {
        match self.by {
            Operator | OperatorWithAws | Expired => operator(arn),
            Agent => agent(arn, CONSUMER),
            WideAgent => Ok(with_all(agent(arn, CONSUMER)?, PolicyAction::Connect, arn)),
        }
    }
}

// Each waits for what does not come most of its time.
const AT_ONCE: usize = 6;
