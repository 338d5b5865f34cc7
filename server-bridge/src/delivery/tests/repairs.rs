//! Late copies of old events: what an agent lost or got back is put right, and a hostile agent makes no storm.

use super::bench::{APPLIED, Bench, DELETED, now};
use crate::delivery::repairs::PER_MINUTE;
use crate::store::Store;

async fn settled(bench: &mut Bench, id: &str) {
    bench.create(id, "c1").await;
    bench
        .until("the bundle", async || bench.broker.count(id) == 1)
        .await;
    let status = bench.say_status(id, APPLIED).await;
    bench.until_acked(status).await;
}

async fn deleted(bench: &mut Bench, id: &str) {
    bench.store.mark_deleting(id, now()).await.unwrap();
    let deletion = ("delete_request".to_owned(), id.to_owned(), true);
    bench
        .until("the deletion", async || {
            bench.broker.sent().contains(&deletion)
        })
        .await;
    let confirmed = bench.say_status(id, DELETED).await;
    bench.until_acked(confirmed).await;
    assert!(bench.store.get_bundle(id).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_create_brought_back_is_deleted_again() {
    let mut bench = Bench::start().await;
    settled(&mut bench, "a").await;
    let late = bench.status(link::event::Action::Update, "a", 1, APPLIED);
    deleted(&mut bench, "a").await;
    let before = bench.broker.count("a");

    // What was said before the deletion was confirmed, and the confirmation itself, are no sign of life.
    let late = bench.say(super::bench::from_agent(&late)).await;
    bench.until_acked(late).await;
    let confirmed = bench.say_status("a", DELETED).await;
    bench.until_acked(confirmed).await;
    assert_eq!(
        bench.counted("bridge_agent_events_total", "unknown_bundle"),
        2
    );

    let alive = bench.say_status("a", APPLIED).await;
    bench.until_acked(alive).await;
    let again = ("resync_response".to_owned(), "a".to_owned(), true);
    bench
        .until("the deletion", async || {
            bench.broker.sent().contains(&again)
        })
        .await;
    // Said all the time, it is answered once a minute.
    for _ in 0..200 {
        let alive = bench.say_status("a", APPLIED).await;
        bench.until_acked(alive).await;
    }
    assert_eq!(bench.broker.count("a"), before + 1);
    assert_eq!(bench.counted("bridge_repairs_total", "deleted_again"), 1);
    assert_eq!(
        bench.counted("bridge_agent_events_total", "deleted_here"),
        201
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_deletion_took_away_is_sent_again_and_the_ledger_says_so() {
    let mut bench = Bench::start().await;
    settled(&mut bench, "a").await;
    // Held back, so that the ledger can be read before the next acknowledgement.
    bench.broker.answer(|message| {
        Err(link::mqtt::PublishError::Refused {
            topic: message.topic.clone(),
            code: 0x97,
            reason: "quota exceeded",
        })
    });
    let gone = bench.say_status("a", DELETED).await;
    bench.until_acked(gone).await;
    let bundle = bench.store.get_bundle("a").await.unwrap().unwrap();
    assert!(bundle.deleted_at.is_none());
    let entry = &bundle.ledger.unwrap()[0];
    assert!(entry.failure.is_some() && entry.applied_at.is_none() && entry.acked_at.is_none());
    bench
        .until("the bundle again", async || bench.broker.count("a") >= 2)
        .await;
    bench
        .broker
        .answer(|_| Ok(link::mqtt::Ack { matched: true }));
    bench
        .until("its acknowledgement", async || {
            let bundle = bench.store.get_bundle("a").await.unwrap().unwrap();
            bundle.ledger.unwrap()[0].acked_at.is_some()
        })
        .await;
    let sent = bench.broker.count("a");
    for _ in 0..200 {
        let gone = bench.say_status("a", DELETED).await;
        bench.until_acked(gone).await;
    }
    assert_eq!(bench.broker.count("a"), sent);
    assert_eq!(bench.counted("bridge_repairs_total", "sent_again"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_denies_all_it_holds_costs_a_bounded_number_of_messages() {
    let mut bench = Bench::start().await;
    let ids: Vec<String> = (0..PER_MINUTE + 50)
        .map(|number| format!("b{number:03}"))
        .collect();
    for id in &ids {
        bench.create(id, "c1").await;
    }
    bench
        .until("all bundles", async || {
            bench.broker.sent().len() >= ids.len()
        })
        .await;
    for id in &ids {
        let gone = bench.say_status(id, DELETED).await;
        bench.until_acked(gone).await;
    }
    assert_eq!(
        bench.counted("bridge_repairs_total", "sent_again"),
        u64::from(PER_MINUTE)
    );
}
