//! Which troubles are one event, and when its count is to be written.

use std::collections::HashMap;

use link::bundle::manifest::ObjectRef;
use tokio::time::Instant;

use super::{PACE, WINDOW};

/// What one event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Topic {
    /// Name of the ManifestWork.
    pub(super) work: String,
    /// The object that gives trouble.
    pub(super) object: ObjectRef,
    /// What kind of trouble.
    pub(super) reason: &'static str,
}

/// The events that were written lately.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    series: HashMap<Topic, Series>,
}

/// What a trouble calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeriesAction {
    /// A new event.
    Begin,
    /// A count that is due.
    Now,
    /// Nothing yet; [`SeriesTable::next_due`] says when.
    Later,
}

#[derive(Debug)]
struct Series {
    name: String,
    count: i32,
    written: i32,
    last: Instant,
    not_before: Instant,
}

// === impl SeriesTable ===

impl SeriesTable {
    /// Notes a trouble.
    pub(super) fn note(&mut self, topic: &Topic, now: Instant) -> SeriesAction {
        match self.series.get_mut(topic) {
            Some(series) if now < series.last + WINDOW => {
                series.count = series.count.saturating_add(1);
                series.last = now;
                if series.not_before <= now {
                    SeriesAction::Now
                } else {
                    SeriesAction::Later
                }
            }
            _ => {
                self.series.remove(topic);
                SeriesAction::Begin
            }
        }
    }

    /// The event was written under this name. The second time counts at once, further ones at their pace.
    pub(super) fn begun(&mut self, topic: Topic, name: String, now: Instant) {
        if self.series.len() >= CAPACITY {
            self.series.retain(|_, series| now < series.last + WINDOW);
        }
        if self.series.len() >= CAPACITY {
            self.series.clear();
        }
        let series = Series {
            name,
            count: 1,
            written: 1,
            last: now,
            not_before: now,
        };
        self.series.insert(topic, series);
    }

    /// A count that is to be written now: topic, name of the event, count.
    pub(super) fn due(&self, now: Instant) -> Option<(Topic, String, i32)> {
        let mut open = self.open();
        let (topic, series) = open.find(|(_, series)| series.not_before <= now)?;
        Some((topic.clone(), series.name.clone(), series.count))
    }

    /// When the next count is to be written.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.open().map(|(_, series)| series.not_before).min()
    }

    /// A count was written.
    pub(super) fn written(&mut self, topic: &Topic, count: i32, now: Instant) {
        if let Some(series) = self.series.get_mut(topic) {
            series.written = count;
            series.not_before = now + PACE;
        }
    }

    /// A count has to wait.
    pub(super) fn postpone(&mut self, topic: &Topic, until: Instant) {
        if let Some(series) = self.series.get_mut(topic) {
            series.not_before = until;
        }
    }

    /// The event is not there any more.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.series.remove(topic);
    }

    fn open(&self) -> impl Iterator<Item = (&Topic, &Series)> {
        let series = self.series.iter();
        series.filter(|(_, series)| series.written < series.count)
    }
}

// About 500 bytes each; beyond it counts begin again at one.
const CAPACITY: usize = 1000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn topic(work: usize) -> Topic {
        Topic {
            work: format!("work-{work}"),
            object: ObjectRef::default(),
            reason: "Refused",
        }
    }

    #[test]
    fn same_trouble_is_counted_at_its_pace() {
        let (mut series, start) = (SeriesTable::default(), Instant::now());
        assert_eq!(series.note(&topic(1), start), SeriesAction::Begin);
        series.begun(topic(1), "event".into(), start);
        assert_eq!(series.next_due(), None);
        assert_eq!(series.note(&topic(1), start), SeriesAction::Now);
        assert_eq!(series.due(start), Some((topic(1), "event".into(), 2)));
        series.written(&topic(1), 2, start);
        for _ in 0..100 {
            assert_eq!(series.note(&topic(1), start), SeriesAction::Later);
        }
        assert_eq!(series.due(start), None);
        assert_eq!(series.next_due(), Some(start + PACE));
        assert_eq!(series.due(start + PACE).unwrap().2, 102);
    }

    #[test]
    fn another_trouble_is_another_event() {
        let (mut series, start) = (SeriesTable::default(), Instant::now());
        series.begun(topic(1), "event".into(), start);
        let other = Topic {
            reason: "Invalid",
            ..topic(1)
        };
        assert_eq!(series.note(&other, start), SeriesAction::Begin);
    }

    #[test]
    fn trouble_that_comes_back_after_the_window_is_a_new_event() {
        let (mut series, start) = (SeriesTable::default(), Instant::now());
        series.begun(topic(1), "event".into(), start);
        let late = start + WINDOW - Duration::from_secs(1);
        assert_eq!(series.note(&topic(1), late), SeriesAction::Now);
        assert_eq!(series.note(&topic(1), late + WINDOW), SeriesAction::Begin);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut series, start) = (SeriesTable::default(), Instant::now());
        for work in 0..3 * CAPACITY {
            series.begun(topic(work), "event".into(), start);
        }
        assert!(series.series.len() <= CAPACITY);
    }
}
