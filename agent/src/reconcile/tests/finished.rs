//! Works and objects that have finished stay finished, and what is new of them is applied all the same.

use super::*;

#[tokio::test]
async fn a_finished_work_is_left_alone_and_its_objects_go_when_its_time_to_live_is_over() {
    let fixture = Fixture::new();
    fixture.order_job(Version::FIRST);
    let (next, conditions, _) = fixture.look().await;
    assert_eq!(conditions[2], "Complete=True");
    assert_eq!(next, QueueAction::After(Duration::ZERO));
    let (next, ..) = fixture.look().await;
    assert_eq!(next, QueueAction::After(Duration::from_secs(60)));
    assert_eq!(*fixture.applier.applied.lock().unwrap(), 1);

    *fixture.now.lock().unwrap() += SignedDuration::from_secs(60);
    let (_, conditions, told) = fixture.look().await;
    assert_eq!(conditions.last().unwrap(), "Expired=True");
    assert!(fixture.applier.held.lock().unwrap().is_empty());
    let (_, _, again) = fixture.look().await;
    assert_eq!((again, fixture.told()), (told, told), "nothing new is said");

    let second = Version::new(2).unwrap();
    fixture.order_job(second);
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(
        conditions[2..],
        ["Complete=True"],
        "a new version begins anew"
    );
    assert_eq!(*fixture.applier.applied.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_job_that_is_spent_is_not_run_again_while_nobody_can_tell_whether_it_is_gone() {
    let fixture = Fixture::new();
    fixture.order_short_lived_job();
    fixture.look().await;
    assert!(fixture.said_of_manifest().contains(&"Finished".into()));
    // Read in vain before its time is over, and after.
    for seconds in [1, 60] {
        *fixture.now.lock().unwrap() += SignedDuration::from_secs(seconds);
        *fixture.applier.blind.lock().unwrap() = true;
        let before = *fixture.applier.applied.lock().unwrap();
        let (next, conditions, _) = fixture.look().await;
        assert_eq!(conditions[0], "Applied=True");
        assert!(fixture.said_of_manifest().contains(&"Finished".into()));
        if seconds == 60 {
            assert!(matches!(next, QueueAction::Retry(_)), "{next:?}");
            assert_eq!(*fixture.applier.applied.lock().unwrap(), before);
        }
    }
    *fixture.applier.blind.lock().unwrap() = false;
    *fixture.applier.expired.lock().unwrap() = true;
    let before = *fixture.applier.applied.lock().unwrap();
    let (next, ..) = fixture.look().await;
    assert!(matches!(next, QueueAction::After(_)), "{next:?}");
    assert_eq!(*fixture.applier.applied.lock().unwrap(), before);
    assert!(fixture.said_of_manifest().contains(&"Finished".into()));
}

#[tokio::test]
async fn a_finished_work_stays_finished_while_its_objects_cannot_be_read() {
    let fixture = Fixture::new();
    fixture.order_job(Version::FIRST);
    fixture.look().await;
    let told = fixture.said_of_manifest();
    assert!(told.contains(&"Complete".into()), "{told:?}");
    *fixture.applier.blind.lock().unwrap() = true;
    let (next, conditions, _) = fixture.look().await;
    assert!(matches!(next, QueueAction::Retry(_)), "{next:?}");
    assert_eq!(conditions[2], "Complete=True");
    *fixture.applier.blind.lock().unwrap() = false;
    fixture.look().await;
    assert_eq!(fixture.said_of_manifest(), told);
    assert_eq!(*fixture.applier.applied.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_version_that_failed_is_tried_again_although_its_objects_finished_in_the_one_before() {
    let fixture = Fixture::new();
    fixture.order_job(Version::FIRST);
    fixture.look().await;
    fixture.order_job(Version::new(2).unwrap());
    *fixture.applier.broken.lock().unwrap() = true;
    for _ in 0..2 {
        let (next, conditions, _) = fixture.look().await;
        assert!(matches!(next, QueueAction::Retry(_)), "{next:?}");
        assert_eq!(conditions[0], "Applied=False");
    }
    *fixture.applier.broken.lock().unwrap() = false;
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(conditions[0], "Applied=True");
    assert_eq!(*fixture.applier.applied.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_version_that_cannot_be_used_makes_nothing_again_that_has_finished_or_expired() {
    let fixture = Fixture::new();
    fixture.order_job(Version::FIRST);
    fixture.look().await;
    fixture.order_unusable(Version::new(2).unwrap());
    let (_, conditions, _) = fixture.look().await;
    assert_eq!(
        conditions,
        ["Applied=False", "Available=True", "Complete=True"]
    );
    assert_eq!(*fixture.applier.applied.lock().unwrap(), 1);

    let third = Version::new(3).unwrap();
    fixture.order_job(third);
    fixture.look().await;
    *fixture.now.lock().unwrap() += SignedDuration::from_secs(61);
    assert_eq!(fixture.look().await.1.last().unwrap(), "Expired=True");
    fixture.order_unusable(Version::new(4).unwrap());
    for _ in 0..2 {
        assert_eq!(fixture.look().await.1.last().unwrap(), "Expired=True");
        assert_eq!(*fixture.applier.applied.lock().unwrap(), 2);
    }
}

#[tokio::test]
async fn what_a_finished_work_could_not_give_up_is_given_up_later() {
    let fixture = Fixture::new();
    fixture.order(false);
    fixture.look().await;
    *fixture.applier.pending.lock().unwrap() = 2;
    fixture.order_job(Version::new(2).unwrap());
    for _ in 0..2 {
        let (next, conditions, _) = fixture.look().await;
        assert_eq!(conditions[2], "Complete=True");
        assert!(matches!(next, QueueAction::Retry(_)), "{next:?}");
    }
    fixture.look().await;
    let held = fixture.applier.held.lock().unwrap();
    assert!(held.iter().all(|held| held.kind == "Job"), "{held:?}");
}
