//! A kill between any two requests loses nothing of what works hold.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use super::*;

/// Lets a future go on `polls` times and then drops it, as a kill does; whether it was done before.
async fn killed_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if future.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        left = left.saturating_sub(1);
        if left == 0 {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await
}

/// Looks until nothing is left to be given up.
async fn look_until_settled(bench: &Bench, manifests: &[(Value, Strategy)]) -> Result<()> {
    for outcome in bench.look("w", manifests).await? {
        outcome?;
    }
    let again = bench.claim("w", manifests).await?;
    assert_eq!(again, Vec::new());
    Ok(())
}

#[tokio::test]
async fn a_kill_at_any_moment_is_made_good_by_the_next_start() -> Result<()> {
    let mut bench = Bench::new("anytime").await?;
    let manifest = |bench: &Bench, name: &str, color: &str| {
        let strategy = Strategy::Default;
        (bench.map(name, color), strategy)
    };
    for polls in 1.. {
        let before = [manifest(&bench, "a", "red"), manifest(&bench, "b", "red")];
        let after = [manifest(&bench, "b", "blue"), manifest(&bench, "c", "blue")];
        let mut done = killed_after(polls, bench.look("w", &before)).await;
        bench.restart().await?;
        look_until_settled(&bench, &before).await?;
        assert_eq!(bench.owners("a").await?.len(), 1);

        done &= killed_after(polls, bench.look("w", &after)).await;
        bench.restart().await?;
        look_until_settled(&bench, &after).await?;
        assert!(bench.maps().get_opt("a").await?.is_none());
        assert_eq!(bench.color("b").await?, "blue");
        assert_eq!(bench.owners("c").await?, bench.owners("b").await?);

        done &= killed_after(polls, bench.look("w", &[])).await;
        bench.restart().await?;
        bench.look("w", &[]).await?;
        assert!(bench.maps().get_opt("b").await?.is_none());
        assert!(bench.maps().get_opt("c").await?.is_none());
        let record = bench.records().get_opt(&bench.record_name("w")).await?;
        assert!(record.is_none());
        if done {
            break;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_kill_while_a_record_is_replaced_loses_nothing() -> Result<()> {
    let mut bench = Bench::new("replace").await?;
    for polls in 1.. {
        let manifest = bench.map("a", "red");
        bench.hold("w", &manifest).await?;
        let uid = bench.maps().get("a").await?.metadata.uid;
        for record in bench.living_records().await? {
            let params = DeleteParams::default();
            bench.records().delete(&record, &params).await?;
        }
        bench.restart().await?;
        let looks = [(manifest.clone(), Strategy::Default)];
        let done = killed_after(polls, bench.look("w", &looks)).await;
        bench.restart().await?;
        bench.hold("w", &manifest).await?;
        assert_eq!(bench.living_records().await?.len(), 1);
        assert_eq!(bench.owners("a").await?.len(), 1);
        assert_eq!(bench.maps().get("a").await?.metadata.uid, uid);
        if done {
            break;
        }
    }
    assert_eq!(bench.give_up("w", Release::Remove).await?, Released::Gone);
    assert_eq!(bench.living_records().await?, Vec::<String>::new());
    Ok(())
}
