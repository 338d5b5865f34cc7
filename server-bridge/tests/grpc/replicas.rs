//! Two bridges on one database: what is published and reported at one is told by the other.

use server_bridge::callers::Access;

use crate::server::{Place, Server, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_and_reported_at_one_bridge_is_told_by_the_other() {
    let place = Place::postgres();
    let one = Server::over(place.open().await, quick(), Access::open()).await;
    let two = Server::over(place.open().await, quick(), Access::open()).await;
    let (here, there) = (one.source("a").await, two.source("a").await);
    let mut stream = here.follow().await;
    stream.silent(1).await;
    there.create("b1", "1").await.unwrap();
    // The answer was lost, and the client comes to the other bridge.
    here.create("b1", "1").await.unwrap();
    here.create("b1", "2").await.unwrap_err();
    two.report("b1", "first").await;
    assert_eq!(stream.status().await.unwrap().said(), "first");
    for turn in 0..50 {
        two.report("b1", &turn.to_string()).await;
    }
    stream.until(|told| told.said() == "49").await;
    here.update("b1", 1, "2").await.unwrap();
    there.delete("b1").await.unwrap();
    one.confirm_deletion("b1").await;
    // What was told last may be told once more before it.
    stream.until(|told| told.said() == "gone").await;
    here.resync(&[]).await.unwrap();
    assert_eq!(stream.status().await.unwrap().id, "b1");
    // And whoever connects to the other hears of it still.
    let mut again = there.follow().await;
    assert_eq!(again.status().await.unwrap().said(), "gone");
    one.stopped().await;
    two.stopped().await;
}
