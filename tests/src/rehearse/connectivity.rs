//! Phase 3: with what is mounted, every party reaches the broker and its own topics, and nobody else's.

use anyhow::{Context as _, Result, ensure};

use super::component::Component;
use super::{CLUSTERS, Rehearsal, SERVER, expect};
use crate::process::ProcessSpec;

pub(super) async fn check(rehearsal: &mut Rehearsal) -> Result<()> {
    for cluster in CLUSTERS {
        let party = rehearsal.party(cluster)?;
        let check = ["check", "--consumer", cluster, "-i", &party.client_id];
        probe(rehearsal, party, &check, 0).await?;
        rehearsal.saw(format!("`{cluster}`: `probe check` passes every stage"));
    }
    both_ways(rehearsal).await?;
    for (own, other) in [(CLUSTERS[0], CLUSTERS[1]), (CLUSTERS[1], CLUSTERS[0])] {
        refusals(rehearsal, own, other).await?;
    }
    Ok(())
}

/// What the server publishes an agent receives, and the other way round.
async fn both_ways(rehearsal: &mut Rehearsal) -> Result<()> {
    for cluster in CLUSTERS {
        let (server, agent) = (rehearsal.party(SERVER)?, rehearsal.party(cluster)?);
        let down = format!("maestro/consumers/{cluster}/sourceevents");
        let up = format!("maestro/consumers/{cluster}/agentevents");
        // Replicas share what they hear in a group of the server's name.
        let group = server.client_id.trim_end_matches("-0");
        let all = format!("$share/{group}/maestro/consumers/+/agentevents");
        for (sender, topic, receiver, filter) in
            [(server, &down, agent, &down), (agent, &up, server, &all)]
        {
            exchange(rehearsal, sender, topic, receiver, filter).await?;
        }
        rehearsal.saw(format!("`{cluster}` and the server hear each other"));
    }
    Ok(())
}

async fn exchange(
    rehearsal: &Rehearsal,
    sender: &Component,
    topic: &str,
    receiver: &Component,
    filter: &str,
) -> Result<()> {
    let logs = rehearsal.testbed.path().join("logs");
    let subscribe = [
        "subscribe",
        "-t",
        filter,
        "-C",
        "1",
        "-W",
        "30",
        "-i",
        &receiver.client_id,
    ];
    let label = format!("subscribe-{}-{}", receiver.name, sender.name);
    let mut listening = spec(receiver, &subscribe)?.label(label).start(&logs)?;
    let publish = [
        "publish",
        "-t",
        topic,
        "-m",
        "rehearsal",
        "-i",
        &sender.client_id,
    ];
    // Sent until it is seen: nobody can know when the other is subscribed, and IoT Core lets a client id in once a
    // second only.
    let what = format!("a message from `{}` at `{}`", sender.name, receiver.name);
    crate::wait::wait_for(&what, super::PATIENCE, async || {
        match listening.ended().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => listening.restart().map_err(|error| error.to_string())?,
            None => {}
        }
        let publishing = run(rehearsal, sender, &publish, 0).await;
        publishing.map_err(|error| format!("{error:#}"))?;
        Err(listening.output())
    })
    .await?;
    Ok(())
}

async fn refusals(rehearsal: &mut Rehearsal, own: &str, other: &str) -> Result<()> {
    let party = rehearsal.party(own)?;
    let (mine, theirs) = (&party.client_id, &rehearsal.party(other)?.client_id);
    let topic = |cluster: &str, kind: &str| format!("maestro/consumers/{cluster}/{kind}");
    let (up, their_up) = (topic(own, "agentevents"), topic(other, "agentevents"));
    let (down, their_down) = (topic(own, "sourceevents"), topic(other, "sourceevents"));
    for args in [
        ["publish", "-i", theirs, "-t", &up, "-m", "x"].as_slice(),
        &["publish", "-i", mine, "-t", &their_up, "-m", "x"],
        &["publish", "-i", mine, "-t", &down, "-m", "x"],
        &[
            "subscribe",
            "-i",
            mine,
            "-t",
            &their_down,
            "-C",
            "1",
            "-W",
            "20",
        ],
    ] {
        probe(rehearsal, party, args, 4).await?;
    }
    rehearsal.saw(format!(
        "`{own}` is refused the client id and the topics of `{other}`"
    ));
    Ok(())
}

/// Runs probe, which must end with this code; again while the broker says that the client id was just here, as
/// IoT Core does.
async fn probe(rehearsal: &Rehearsal, party: &Component, args: &[&str], code: i32) -> Result<()> {
    let settled =
        crate::wait::wait_for("the broker's quota", super::PATIENCE, async || {
            match run(rehearsal, party, args, code).await {
                Err(error) if format!("{error:#}").contains(QUOTA) => Err(format!("{error:#}")),
                other => Ok(other),
            }
        });
    settled.await?
}

async fn run(rehearsal: &Rehearsal, party: &Component, args: &[&str], code: i32) -> Result<()> {
    let output = rehearsal.run(spec(party, args)?, "probe").await?;
    let command = format!("probe {} as `{}`", args.join(" "), party.name);
    ensure!(
        !output.stderr.contains(QUOTA) && !output.stdout.contains(QUOTA),
        "`{command}`: {}",
        output.stderr
    );
    expect(&command, &output, code)
}

fn spec(party: &Component, args: &[&str]) -> Result<ProcessSpec> {
    let spec = ProcessSpec::binary("probe")?;
    Ok(spec.args(args).arg("--identity").arg(&party.directory))
}

/// Takes a cluster's rights away behind the provisioner's back.
pub(super) fn sabotage(rehearsal: &Rehearsal, cluster: &str) -> Result<()> {
    let policy = format!("{cluster}-maestro-agent-policy");
    let registry = rehearsal.testbed.broker.registry();
    let targets = registry.policy_targets(&policy)?;
    let target = targets.first().context("the policy is attached")?;
    registry.detach_policy(target, &policy)?;
    Ok(())
}

// CONNECT's reason code "quota exceeded".
const QUOTA: &str = "0x97";
