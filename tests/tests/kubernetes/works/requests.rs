//! What the works cost the API server.

use std::time::Instant;

use agent::work::Store as _;
use anyhow::{Context as _, Result, ensure};
use tests::kubernetes::AuditEntry;
use tests::wait::wait_for;

use super::rig::{PATIENCE, Rig, Watching, at, bundle, commit, read, record, say, work};

fn ours(entries: &[AuditEntry], user_agent: &str) -> Vec<String> {
    let ours = entries
        .iter()
        .filter(|entry| entry.user_agent == user_agent && entry.verb != "watch");
    ours.map(|entry| {
        let what = format!("{} {} {}", entry.verb, entry.resource, entry.subresource);
        what.trim().to_owned()
    })
    .collect()
}

#[tokio::test]
async fn a_new_work_costs_one_request_and_its_status_another() -> Result<()> {
    let mut rig = Rig::new("requests").await?;
    rig.client = rig.cluster.client_called("works/1").await?;
    let store = rig.open().await?;
    let mut watching = Watching::of(&store);
    commit(&store, &[work("before", 1, &bundle("1"))]).await?;
    // Somebody's change comes back once the watch runs.
    rig.annotate("before", agent::crd::PAUSED, "wait".into())
        .await?;
    watching.about("before").await?;

    let audit = rig.cluster.audit().await?;
    let mark = audit.mark().await?;
    for number in 0..3 {
        let id = format!("w{number}");
        commit(&store, &[work(&id, 1, &bundle("1"))]).await?;
        read(&store, &id).await?;
        let said = record(1, "m");
        say(&store, &id, &said).await?;
        store
            .reported(&id.as_str().into())
            .await?
            .context("a status")?;
        store.next_sequence(at("2026-08-01T10:00:00Z")).await?;
        store.acknowledge(&id.as_str().into(), said).await?;
    }
    let asked = ours(&audit.since(mark).await?, "works/1");
    assert_eq!(
        asked,
        [
            "create manifestworks",
            "patch manifestworks status",
            "patch configmaps",
            "create manifestworks",
            "patch manifestworks status",
            "create manifestworks",
            "patch manifestworks status",
        ]
    );

    let mark = audit.mark().await?;
    store.flush().await?;
    store.flush().await?;
    commit(&store, &[work("w0", 2, &bundle("2"))]).await?;
    read(&store, "w0").await?;
    let asked = ours(&audit.since(mark).await?, "works/1");
    assert_eq!(asked, ["patch configmaps", "patch manifestworks"]);
    Ok(())
}

#[tokio::test]
async fn a_look_is_written_alone_only_where_another_made_the_one_that_is_kept() -> Result<()> {
    let mut rig = Rig::new("looks").await?;
    rig.client = rig.cluster.client_called("looks/1").await?;
    let store = rig.open().await?;
    let id = "w".into();
    commit(&store, &[work("w", 1, &bundle("1"))]).await?;
    say(&store, "w", &record(1, "m")).await?;
    let audit = rig.cluster.audit().await?;
    let asked = async |store: &agent::work::Objects, words: &str| -> Result<Vec<String>> {
        let mark = audit.mark().await?;
        let epoch = store.index().entry(&id).context("a held work")?.epoch;
        let look = Some((epoch, words.into()));
        store.write_status(&id, look).await?;
        Ok(ours(&audit.since(mark).await?, "looks/1"))
    };
    let written = ["patch manifestworks status"];
    assert_eq!(asked(&store, "one 0").await?, written);
    assert_eq!(asked(&store, "one 0 5").await?, [""; 0]);

    let store = rig.open().await?;
    let looks = store.take_snapshots();
    assert_eq!(looks.get(&id).context("a snapshot")?.text, "one 0");
    assert!(store.take_snapshots().is_empty());
    assert_eq!(asked(&store, "one 0 5").await?, [""; 0]);
    assert_eq!(asked(&store, "two 0").await?, written);
    // It is of this version only.
    commit(&store, &[work("w", 2, &bundle("2"))]).await?;
    assert_eq!(asked(&store, "three 0").await?, [""; 0]);
    assert!(rig.open().await?.take_snapshots().is_empty());
    Ok(())
}

#[tokio::test]
async fn many_acknowledgements_are_noted_with_few_writes() -> Result<()> {
    let mut rig = Rig::new("acknowledged").await?;
    rig.client = rig.cluster.client_called("acknowledged/1").await?;
    let store = rig.open().await?;
    let _watching = Watching::of(&store);
    let works: Vec<_> = (0..20)
        .map(|number| work(&format!("w{number}"), 1, ""))
        .collect();
    commit(&store, &works).await?;
    let audit = rig.cluster.audit().await?;
    let mark = audit.mark().await?;
    let begun = Instant::now();
    for work in &works {
        let said = record(1, "m");
        say(&store, work.head.id.as_str(), &said).await?;
        store.acknowledge(&work.head.id, said).await?;
    }
    wait_for("the marks", PATIENCE, async || {
        let data = rig
            .maps()
            .get("agent-cluster1-state")
            .await?
            .data
            .unwrap_or_default();
        let marks = data
            .get("acknowledged")
            .map_or(0, |marks| marks.lines().count());
        ensure!(marks == 20, "{marks} marks");
        Ok(())
    })
    .await?;
    let asked = ours(&audit.since(mark).await?, "acknowledged/1");
    let writes = asked
        .iter()
        .filter(|what| *what == "patch configmaps")
        .count();
    // One in ten seconds, whatever a busy machine takes for the rest.
    let most = 2 + begun.elapsed().as_secs() / 10;
    ensure!(writes as u64 <= most, "{writes} writes, at most {most}");
    Ok(())
}
