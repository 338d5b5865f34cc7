//! Who undoes each other's changes slows down and says so.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_write_conflict_slows_down_repairs_and_neither_a_new_version_nor_a_deletion() {
    let fixture = Fixture::new();
    fixture.order(false);
    let waits = async || {
        let next = fixture.reconciler.reconcile(&"w".into()).await;
        matches!(next, QueueAction::After(left) if left <= Duration::from_secs(60))
    };
    // The applier says each time that somebody else had changed it.
    for _ in 0..100 {
        fixture.reconciler.reconcile(&"w".into()).await;
    }
    assert!(waits().await);
    let before = *fixture.applier.applied.lock().unwrap();
    fixture.order_version(Version::new(2).unwrap(), false, br#"{"manifests":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","namespace":"d"}}]}"#);
    assert!(!waits().await);
    assert_eq!(*fixture.applier.applied.lock().unwrap(), before + 1);
    for _ in 0..100 {
        fixture.reconciler.reconcile(&"w".into()).await;
    }
    assert!(waits().await);
    fixture.order(true);
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(conditions.last().unwrap(), "Deleted=True");
}

#[tokio::test(start_paused = true)]
async fn a_write_conflict_is_told_with_its_rival_until_there_is_peace_and_costs_two_reports() {
    let fixture = Fixture::new();
    fixture.order(false);
    let message = || {
        let record = fixture
            .reconciler
            .store
            .status(&"w".into())
            .unwrap()
            .unwrap();
        let applied = record.status.condition("Applied").unwrap().clone();
        (applied.status, applied.message)
    };
    for _ in 0..100 {
        let (next, ..) = fixture.look().await;
        if let QueueAction::After(left) = next {
            tokio::time::advance(left.min(Duration::from_secs(60))).await;
        }
    }
    let (status, words) = message();
    assert_eq!(status, "False");
    assert!(
        words.starts_with(
            "Failed to apply manifest work: `hpa` changes ConfigMap d/a again and again"
        ),
        "{words}"
    );
    assert_eq!(
        fixture.told(),
        2,
        "that it was applied, and that it is fought over"
    );

    *fixture.applier.peaceful.lock().unwrap() = true;
    let (next, conditions, _) = fixture.look().await;
    // The last repair may be a whole pause ago.
    if conditions[0] == "Applied=False" {
        let QueueAction::After(left) = next else {
            panic!("{next:?}");
        };
        tokio::time::advance(left).await;
    }
    assert_eq!(fixture.look().await.1[0], "Applied=True");
}
