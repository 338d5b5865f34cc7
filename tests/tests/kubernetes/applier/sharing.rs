//! Several works, and several agents, hold one object.

use agent::applier::ApplierErrorKind;
use link::bundle::{ServerSideApply, UpdateStrategy};

use super::*;

#[tokio::test]
async fn works_that_want_the_same_share_an_object_until_the_last_gives_it_up() -> Result<()> {
    let bench = Bench::new("shared").await?;
    bench.hold("a", &bench.map("x", "red")).await?;
    bench.hold("b", &bench.map("x", "red")).await?;
    assert_eq!(bench.owners("x").await?.len(), 2);
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Left);
    assert_eq!(bench.owners("x").await?.len(), 1);
    assert_eq!(bench.give_up("b", Release::Remove).await?, Released::Gone);
    assert!(bench.maps().get_opt("x").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn the_oldest_work_leads_and_the_next_takes_over() -> Result<()> {
    let mut bench = Bench::new("leader").await?;
    bench.hold("a", &bench.map("x", "red")).await?;
    let looks = [(bench.map("x", "blue"), Strategy::Default)];
    let error = bench.look("b", &looks).await?.remove(0).unwrap_err();
    assert_eq!(error.kind, ApplierErrorKind::Conflict { owner: "a".into() });
    assert_eq!(bench.color("x").await?, "red");
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Left);
    bench.woken("b").await?;
    bench.look("b", &looks).await?.remove(0)?;
    assert_eq!(bench.color("x").await?, "blue");
    Ok(())
}

#[tokio::test]
async fn a_work_with_its_own_field_manager_shares_field_by_field() -> Result<()> {
    let bench = Bench::new("fields").await?;
    bench.hold("a", &bench.map("x", "red")).await?;
    let mut shape = bench.map("x", "");
    shape["data"] = json!({"shape": "round"});
    let strategy = Strategy::ServerSideApply(UpdateStrategy {
        kind: "ServerSideApply".into(),
        server_side_apply: Some(ServerSideApply {
            field_manager: "shapes".into(),
            ..ServerSideApply::default()
        }),
    });
    let looks = [(shape, strategy)];
    bench.look("b", &looks).await?.remove(0)?;
    let applied = bench.hold("a", &bench.map("x", "red")).await?;
    let observed = applied.observed.context("observed")?;
    assert_eq!(observed["data"], json!({"color": "red", "shape": "round"}));
    assert_eq!(bench.owners("x").await?.len(), 2);
    Ok(())
}

/// An agent of another consumer in the same cluster and namespace.
async fn another(bench: &Bench) -> Result<Bench> {
    let (client, namespace) = (bench.client.clone(), bench.namespace.clone());
    let mut other = Bench::of(client.clone(), client, namespace, &[]).await?;
    other.agent_id = AgentId::from(format!("other-{}", bench.namespace).as_str());
    other.restart().await?;
    Ok(other)
}

#[tokio::test]
async fn an_object_of_another_agent_too_only_loses_our_owner() -> Result<()> {
    let bench = Bench::new("agents").await?;
    let mut other = another(&bench).await?;
    other.watched().await?;

    other.hold("b", &bench.map("x", "red")).await?;
    bench.hold("a", &bench.map("x", "red")).await?;
    // The second apply may have dropped the first owner, who is told and puts it back; then both stay.
    while bench.owners("x").await?.len() < 2 {
        other.woken("b").await?;
        other.hold("b", &bench.map("x", "red")).await?;
    }
    other.hold("b", &bench.map("x", "red")).await?;
    assert_eq!(bench.owners("x").await?.len(), 2);
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Left);
    assert_eq!(bench.owners("x").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_an_agent_holds_that_is_away_keeps_its_owner_and_stays() -> Result<()> {
    let mut bench = Bench::new("away").await?;
    let other = another(&bench).await?;
    other.hold("b", &bench.map("x", "red")).await?;
    other.watching.abort();
    let owners = bench.owners("x").await?;
    // It is known from the start on.
    bench.restart().await?;
    bench.hold("a", &bench.map("x", "red")).await?;
    assert_eq!(bench.owners("x").await?.len(), 2);
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Left);
    assert_eq!(bench.owners("x").await?, owners);
    Ok(())
}

#[tokio::test]
async fn what_an_agent_comes_to_hold_is_noticed_while_another_runs() -> Result<()> {
    let mut bench = Bench::new("noticed").await?;
    let other = another(&bench).await?;
    other.watching.abort();
    let maps = (0..20).map(|number| (bench.map(&format!("x{number}"), "red"), Strategy::Default));
    let maps: Vec<(Value, Strategy)> = maps.collect();
    for outcome in other.look("b", &maps).await? {
        outcome?;
    }
    // What happens to a later record is told after it, on the same watch.
    bench.hold("marker", &bench.map("marker", "red")).await?;
    let marker = bench.record_name("marker");
    let params = DeleteParams::default();
    bench.records().delete(&marker, &params).await?;
    bench.woken("marker").await?;
    // A list tells in the order of names: then the event may come after the first of them.
    let mut left = maps.iter().enumerate();
    wait_for("an object to keep its owner", PATIENCE, async || {
        let (number, (map, _)) = left.next().context("one of them kept it")?;
        bench.hold(&format!("a{number}"), map).await?;
        let owners = bench.owners(&format!("x{number}")).await?;
        anyhow::ensure!(owners.len() == 2, "{owners:?}");
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn what_an_agent_holds_that_does_not_say_what_keeps_its_owner() -> Result<()> {
    let mut bench = Bench::new("silent").await?;
    let other = another(&bench).await?;
    other.hold("b", &bench.map("x", "red")).await?;
    other.watching.abort();
    // As a Go agent leaves it.
    let nothing = json!({"metadata": {"annotations": null}});
    edit(&bench.records(), &other.record_name("b"), nothing).await?;
    bench.restart().await?;
    bench.hold("a", &bench.map("x", "red")).await?;
    assert_eq!(bench.owners("x").await?.len(), 2);
    assert_eq!(bench.give_up("a", Release::Remove).await?, Released::Left);
    assert_eq!(bench.owners("x").await?.len(), 1);
    // Nobody makes other agents read more than they have to.
    let params = DeleteParams::default();
    let name = other.record_name("b");
    bench.records().delete(&name, &params).await?;
    edit(
        &bench.records(),
        &name,
        json!({"metadata": {"finalizers": null}}),
    )
    .await?;
    Ok(())
}
