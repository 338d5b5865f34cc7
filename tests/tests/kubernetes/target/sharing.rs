//! Several works, and several agents, hold one object.

use agent::target::ErrorKind;
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
    assert_eq!(error.kind, ErrorKind::Conflict { owner: "a".into() });
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

#[tokio::test]
async fn an_object_of_another_agent_too_only_loses_our_owner() -> Result<()> {
    let bench = Bench::new("agents").await?;
    let mut other = Bench::of(
        bench.client.clone(),
        bench.client.clone(),
        bench.namespace.clone(),
        &[],
    )
    .await?;
    other.agent_id = AgentId::from(format!("other-{}", bench.namespace).as_str());
    other.restart().await?;
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
