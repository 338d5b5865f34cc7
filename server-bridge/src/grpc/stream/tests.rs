//! A repetition goes through everything page by page, also where many reports are of one moment.

use super::*;
use crate::store::SourceName;

fn head(id: usize, second: i64) -> ReportHead {
    ReportHead {
        id: id.to_string(),
        source: SourceName::new("a").unwrap(),
        at: Timestamp::from_second(second).unwrap(),
        gone: false,
    }
}

/// What is told of a store that holds these, each bundle as often as it is told.
fn replayed(stored: &[ReportHead]) -> Vec<String> {
    let mut replay = Replay::new(Timestamp::MIN);
    let mut told = Vec::new();
    loop {
        let page: Vec<ReportHead> = stored
            .iter()
            .filter(|head| head.at >= replay.since)
            .take(replay.limit as usize)
            .cloned()
            .collect();
        told.extend(replay.fresh(&page).map(|head| head.id.clone()));
        if !replay.advance(&page) {
            return told;
        }
    }
}

#[test]
fn a_repetition_tells_every_bundle_once_whatever_the_times() {
    let page = PAGE as usize;
    for (count, every) in [
        (0, 1),
        (page - 1, 1),
        (page, 1),
        (page + 1, 1),
        (3 * page, 7),
        (3 * page, page),
        (5 * page, 3 * page),
        (5 * page, usize::MAX),
    ] {
        let stored: Vec<ReportHead> = (0..count)
            .map(|number| head(number, i64::try_from(number / every).unwrap()))
            .collect();
        let all: Vec<String> = stored.iter().map(|head| head.id.clone()).collect();
        assert_eq!(replayed(&stored), all, "{count} reports, {every} a second");
    }
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
