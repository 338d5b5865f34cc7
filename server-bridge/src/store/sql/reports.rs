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
