//! One bundle that cannot be sent holds up no other.

use bytes::Bytes;
use link::iot::limits::LimitError;
use link::message::Message;
use link::mqtt::{Ack, PublishError};

use super::bench::{APPLIED, Bench, bundle, consumer, now};
use crate::store::faulty::Fault;
use crate::store::{Json, Store, StoreError};

/// An annotation of `<` that is measured before it is escaped: six times as long on the wire.
async fn create_too_large(bench: &Bench, id: &str, name: &str) {
    let mut new = bundle(id, name);
    let text = format!("{{\"annotations\":{{\"a\":\"{}\"}}}}", "<".repeat(11_000));
    new.metadata = Some(Json::parse(&text).unwrap());
    bench.store.sound().create_bundle(new, now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_does_not_fit_is_explained_and_everything_else_goes_on_also_after_a_restart()
{
    let mut bench = Bench::prepare().await;
    create_too_large(&bench, "bad", "c1").await;
    bench.create("good", "c1").await;
    bench.create("other", "c2").await;
    for restart in 1..=2 {
        bench.run();
        bench
            .until("the others", async || {
                bench.broker.count("good") == 1 && bench.broker.count("other") == 1
            })
            .await;
        bench
            .until("the quarantine", async || {
                bench.counted("bridge_quarantined_bundles", "") == 1
            })
            .await;
        assert_eq!(bench.broker.count("bad"), 0, "it never reaches the session");
        let late = format!("late-{restart}");
        bench.create(&late, "c1").await;
        bench
            .until("a later one", async || bench.broker.count(&late) == 1)
            .await;
        // What is not noted as sent goes once more after the restart.
        bench.until_settled("c2").await;
        bench.stop().await;
        assert_eq!(bench.counted("bridge_quarantined_bundles", ""), 0);
    }
    let bad = bench.store.get_bundle("bad").await.unwrap().unwrap();
    let failure = bad.ledger.unwrap()[0].failure.clone().unwrap();
    assert!(
        failure.contains("it does not fit") && failure.contains("ce-metadata"),
        "{failure}"
    );
    assert!(
        failure.contains("65535") && !failure.contains("<<<"),
        "{failure}"
    );

    // What never arrived can be deleted all the same.
    bench.store.mark_deleting("bad", now()).await.unwrap();
    bench.run();
    bench
        .until("its deletion", async || {
            bench
                .broker
                .sent()
                .contains(&("delete_request".into(), "bad".into(), true))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_the_session_gives_up_on_is_not_tried_again_with_the_next() {
    let mut bench = Bench::prepare().await;
    bench.broker.answer(|message: &Message| {
        let topic = message.topic.clone();
        let id = message
            .user_properties
            .iter()
            .find(|(name, _)| name == "ce-resourceid");
        match id.map(|(_, id)| id.as_str()) {
            Some("poison") => Err(PublishError::Poison {
                topic,
                reason: "protocol error".into(),
            }),
            Some("limit") => Err(PublishError::Limit {
                topic,
                source: LimitError::Packet {
                    bytes: 2_000,
                    limit: 1_000,
                },
            }),
            _ => Ok(Ack { matched: true }),
        }
    });
    for id in ["poison", "limit", "good"] {
        bench.create(id, "c1").await;
    }
    bench.run();
    for number in 0..5 {
        let id = format!("later-{number}");
        bench.create(&id, "c1").await;
        bench
            .until(&id, async || bench.broker.count(&id) == 1)
            .await;
    }
    for id in ["poison", "limit", "good"] {
        assert_eq!(bench.broker.count(id), 1, "{id}");
    }
    assert_eq!(bench.counted("bridge_spec_events_total", "limit"), 2);
    let limit = bench.store.get_bundle("limit").await.unwrap().unwrap();
    let failure = limit.ledger.unwrap()[0].failure.clone().unwrap();
    assert!(failure.contains("2000 bytes"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_reads_no_payload_of_what_waits_and_bounded_bytes_of_what_goes() {
    let mut bench = Bench::prepare().await;
    for number in 0..60 {
        create_too_large(&bench, &format!("bad-{number:02}"), "c1").await;
    }
    bench.run();
    bench
        .until("the quarantine", async || {
            bench.counted("bridge_quarantined_bundles", "") == 60
        })
        .await;
    let read = bench.store.calls("pending");
    // Twelve of 120 kB are more than a batch holds.
    for number in 0..12 {
        let mut new = bundle(&format!("large-{number:02}"), "c1");
        let text = format!("[{{\"kind\":\"{}\"}}]", "x".repeat(120_000));
        new.content.manifests = Json::parse(&text).unwrap();
        bench.store.sound().create_bundle(new, now()).await.unwrap();
    }
    bench
        .until("the large ones", async || {
            (0..12).all(|number| bench.broker.count(&format!("large-{number:02}")) == 1)
        })
        .await;
    assert!(bench.store.calls("pending") >= read + 2);
    // What has arrived is acknowledged a moment later.
    bench
        .until("the acknowledgements", async || {
            let heads = bench.store.pending_heads(&consumer("c1"), 100).await;
            heads.unwrap().len() == 60
        })
        .await;
    let (name, ids) = (consumer("c1"), vec!["bad-07".into(), "none".into()]);
    let bodies = bench.store.pending(&name, ids).await.unwrap();
    assert_eq!(bodies.len(), 1);
    assert_ne!(bodies[0].payload, Bytes::new());
    // The next hint makes the lane look again, and read nothing.
    let (heads, read) = (
        bench.store.calls("pending_heads"),
        bench.store.calls("pending"),
    );
    create_too_large(&bench, "bad-60", "c1").await;
    bench
        .until("the next pass", async || {
            bench.store.calls("pending_heads") >= heads + 2
                && bench.counted("bridge_quarantined_bundles", "") == 61
        })
        .await;
    assert_eq!(
        bench.store.calls("pending"),
        read + 1,
        "only the new one was read"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_a_long_queue_is_asked_again_and_nobody_is_taken_out_of_service() {
    let mut bench = Bench::prepare().await;
    let full = StoreError::Overloaded {
        operation: "read the outbox of a consumer",
        waiting: 896,
    };
    bench
        .store
        .next("pending_heads", 3, Fault::Error(full.clone()));
    bench.store.next("apply_status", 2, Fault::Error(full));
    bench.create("a", "c1").await;
    bench.run();
    let ready = bench.checks.clone();
    bench
        .until("the bundle", async || {
            assert!(ready.all_ok());
            bench.broker.count("a") == 1
        })
        .await;
    bench.until_settled("c1").await;
    let status = bench.say_status("a", APPLIED).await;
    bench
        .until("the ack", async || {
            assert!(ready.all_ok());
            bench.acked().contains(&status)
        })
        .await;
    bench.stop().await;
}
