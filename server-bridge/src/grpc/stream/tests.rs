//! A repetition goes on to its end whatever is to be repeated besides, and that follows.

use super::*;

#[test]
fn a_repetition_comes_to_its_end_and_what_was_to_be_repeated_meanwhile_follows() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let place = Some(ReportCursor::default());
    let mut replay = Replay::new(at(50));
    replay.read_since(at(60));
    assert_eq!(replay.since, at(50));
    replay.read_since(at(40));
    assert_eq!(
        (replay.since, replay.again),
        (at(40), None),
        "not begun yet"
    );
    for since in [80, 70, 90] {
        assert!(replay.advance(place));
        replay.read_since(at(since));
        assert_eq!((replay.since, replay.after), (at(40), place));
    }
    assert!(replay.advance(None), "what follows");
    assert_eq!((replay.since, replay.after), (at(70), None));
    assert!(replay.advance(place));
    assert!(!replay.advance(None));
}

#[tokio::test(start_paused = true)]
async fn a_burst_goes_at_once_and_the_next_one_waits_for_its_window() {
    let began = Instant::now();
    let mut rate = Rate::default();
    for _ in 0..BURST - 1 {
        rate.keep().await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    rate.keep().await;
    assert_eq!(began.elapsed(), WINDOW);
}
