use super::*;

#[tokio::test(start_paused = true)]
async fn requests_keep_a_distance_that_grows_while_they_go_on() {
    let mut pace = Pace::default();
    let mut waited = Vec::new();
    for _ in 0..6 {
        let since = Instant::now();
        let due = pace.due(since, None);
        waited.push(due.duration_since(since).as_secs());
        tokio::time::advance(due.duration_since(since)).await;
        pace.asked(Instant::now());
    }
    assert_eq!(waited, [0, 2, 4, 8, 16, 32]);
    tokio::time::advance(CALM).await;
    let since = Instant::now();
    assert_eq!(pace.due(since, None), since);
    pace.asked(since);
    assert_eq!(pace.due(since, None), since + LEAST_DISTANCE);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_while_something_comes_in_but_not_for_ever() {
    let mut pace = Pace::default();
    let since = Instant::now();
    assert_eq!(pace.due(since, Some(since)), since, "nothing was asked for");
    pace.asked(since);
    for (arrived, waits) in [(0, 2), (1, 2), (2, 3), (10, 11), (29, 30), (30, 2)] {
        let arrived = since + Duration::from_secs(arrived);
        let due = pace.due(since, Some(arrived));
        assert_eq!(due.duration_since(since), Duration::from_secs(waits));
    }
}
