use super::*;

fn queue() -> WorkQueue {
    WorkQueue::new(Duration::from_secs(1), Duration::from_secs(60))
}

#[tokio::test(start_paused = true)]
async fn an_id_added_while_it_is_worked_on_comes_once_more_and_never_twice_at_once() {
    let queue = queue();
    let id = WorkId::from("a");
    queue.add(&id);
    queue.add(&id);
    assert_eq!(queue.next().await, Some(id.clone()));
    queue.add(&id);
    queue.add(&id);
    let parallel = tokio::time::timeout(Duration::from_secs(9), queue.next()).await;
    assert!(parallel.is_err());
    queue.finish(&id, QueueAction::Forget);
    assert_eq!(queue.next().await, Some(id.clone()));
    queue.finish(&id, QueueAction::Forget);
    queue.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn failures_come_back_later_each_time_and_a_change_at_once() {
    let queue = queue();
    let id = WorkId::from("a");
    queue.add(&id);
    let mut waited = Vec::new();
    for _ in 0..4 {
        let before = Instant::now();
        let next = queue.next().await.unwrap();
        waited.push(before.elapsed());
        queue.finish(&next, QueueAction::Retry(Cause::default()));
    }
    assert_eq!(waited[0], Duration::ZERO);
    assert!(waited[1] < waited[2] && waited[2] < waited[3], "{waited:?}");
    let before = Instant::now();
    queue.add(&id);
    queue.next().await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn another_cause_begins_the_delays_anew_and_alternating_ones_do_not() {
    let queue = queue();
    let id = WorkId::from("a");
    queue.add(&id);
    let mut waited = Vec::new();
    for cause in [1, 1, 1, 1, 1, 2, 1, 2, 1, 2, 1] {
        let before = Instant::now();
        let next = queue.next().await.unwrap();
        waited.push(before.elapsed());
        queue.finish(&next, QueueAction::Retry(Cause(cause)));
    }
    let first = Duration::from_secs(1);
    assert!(waited[5] > first * 8, "{waited:?}");
    assert!(waited[6] <= first, "{waited:?}");
    assert!(waited[10] > first * 4, "{waited:?}");

    // One past the causes that are told apart.
    for cause in 3..=u64::try_from(CAUSES).unwrap() + 1 {
        let next = queue.next().await.unwrap();
        queue.finish(&next, QueueAction::Retry(Cause(cause)));
    }
    let before = Instant::now();
    queue.next().await.unwrap();
    assert!(before.elapsed() > first / 2, "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn there_is_room_again_when_enough_were_taken() {
    let queue = queue();
    for id in ["a", "b", "c"] {
        queue.add(&id.into());
    }
    let mut waiting = std::pin::pin!(queue.room(2));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    queue.next().await;
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    queue.next().await;
    waiting.await;
}

#[tokio::test(start_paused = true)]
async fn an_id_whose_worker_panicked_comes_back() {
    let queue = std::sync::Arc::new(queue());
    let id = WorkId::from("a");
    queue.add(&id);
    let worker = {
        let queue = std::sync::Arc::clone(&queue);
        tokio::spawn(async move {
            let id = queue.next().await.unwrap();
            let _lock = Processing::new(&queue, &id);
            panic!("on purpose");
        })
    };
    assert!(worker.await.is_err());
    assert_eq!(queue.next().await, Some(id));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_waiter() {
    let queue = std::sync::Arc::new(queue());
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let queue = std::sync::Arc::clone(&queue);
            tokio::spawn(async move { queue.next().await })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.close();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), None);
    }
}
