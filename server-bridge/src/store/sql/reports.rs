//! Pages of the reports of a source: first bundles that are there, then those that are gone.

use super::rows::{self, Cells};
use crate::store::StoreError;
use crate::store::reports::{ReportCursor, ReportPage};

/// A page while its rows are read, at most one query for each of the two tables. A bundle that goes in between is found in
/// the second one.
pub(in crate::store) struct Paging {
    page: ReportPage,
    after: ReportCursor,
    limit: u32,
    ended: bool,
}

/// What to query next.
pub(in crate::store) struct Ask {
    /// Whether those that are gone.
    pub(in crate::store) gone: bool,
    /// Rows behind this key.
    pub(in crate::store) after: i64,
    /// Rows at most, one more than the page takes.
    pub(in crate::store) rows: i64,
}

// === impl Paging ===

impl Paging {
    pub(in crate::store) fn new(after: Option<ReportCursor>, limit: u32) -> Self {
        Self {
            page: ReportPage::default(),
            after: after.unwrap_or_default(),
            limit,
            ended: false,
        }
    }

    /// `None` when the page is whole.
    pub(in crate::store) fn ask(&self) -> Option<Ask> {
        (!self.ended).then(|| Ask {
            gone: self.after.gone,
            after: self.after.key,
            rows: i64::from(self.room()) + 1,
        })
    }

    fn room(&self) -> u32 {
        let taken = u32::try_from(self.page.heads.len()).unwrap_or(u32::MAX);
        self.limit.saturating_sub(taken)
    }

    /// Takes what was asked for.
    pub(in crate::store) fn take<R: Cells>(&mut self, found: Vec<R>) -> Result<(), StoreError> {
        let (found, more) = cut(found, self.room());
        for row in &found {
            self.page.heads.push(rows::report_head(row)?);
            self.after.key = row.integer("key")?;
        }
        if more {
            self.page.next = Some(self.after);
        }
        self.ended = more || self.after.gone;
        if !self.ended {
            self.after = ReportCursor { gone: true, key: 0 };
        }
        Ok(())
    }

    pub(in crate::store) fn page(self) -> ReportPage {
        self.page
    }
}

/// The first `limit` of rows of which one more was asked for, and whether there was that one.
pub(in crate::store) fn cut<T>(mut rows: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    (rows, more)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A row of a bundle by its key; all have the same time.
    struct Row(i64, bool);

    impl Cells for Row {
        fn text(&self, _: &'static str) -> Result<String, StoreError> {
            Ok(self.0.to_string())
        }

        fn optional_text(&self, _: &'static str) -> Result<Option<String>, StoreError> {
            Ok(None)
        }

        fn integer(&self, column: &'static str) -> Result<i64, StoreError> {
            Ok(if column == "key" { self.0 } else { 0 })
        }

        fn optional_integer(&self, _: &'static str) -> Result<Option<i64>, StoreError> {
            Ok(None)
        }

        fn flag(&self, _: &'static str) -> Result<bool, StoreError> {
            Ok(self.1)
        }
    }

    #[derive(Default)]
    struct Tables {
        there: BTreeSet<i64>,
        gone: BTreeSet<i64>,
    }

    impl Tables {
        fn answer(&self, ask: &Ask) -> Vec<Row> {
            let table = if ask.gone { &self.gone } else { &self.there };
            let behind = table.range(ask.after + 1..).take(ask.rows as usize);
            behind.map(|key| Row(*key, ask.gone)).collect()
        }
    }

    /// All pages of this length; after each query `every`-th of the bundles goes.
    fn read(limit: u32, every: usize) -> (Vec<usize>, BTreeSet<String>) {
        let mut tables = Tables {
            there: (1..=40).collect(),
            gone: (41..=60).collect(),
        };
        let (mut lengths, mut seen, mut after) = (Vec::new(), BTreeSet::new(), None);
        loop {
            let mut paging = Paging::new(after, limit);
            while let Some(ask) = paging.ask() {
                paging.take(tables.answer(&ask)).unwrap();
                let going = tables.there.iter().rev().copied().nth(every);
                if let Some(key) = going {
                    tables.there.remove(&key);
                    tables.gone.insert(key);
                }
            }
            let page = paging.page();
            lengths.push(page.heads.len());
            seen.extend(page.heads.into_iter().map(|head| head.id));
            after = page.next;
            if after.is_none() {
                return (lengths, seen);
            }
        }
    }

    #[test]
    fn pages_are_full_and_end_with_the_last_row() {
        assert_eq!(read(20, usize::MAX).0, [20, 20, 20]);
        assert_eq!(read(59, usize::MAX).0, [59, 1]);
        assert_eq!(read(60, usize::MAX).0, [60]);
        assert_eq!(read(100, usize::MAX).0, [60]);
    }

    #[test]
    fn a_bundle_that_goes_while_pages_are_read_is_on_one_of_them() {
        for limit in 1..=61 {
            for every in [0, 3, 17] {
                assert_eq!(read(limit, every).1.len(), 60, "{limit} {every}");
            }
        }
    }
}
