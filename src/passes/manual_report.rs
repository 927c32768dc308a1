use std::fmt;

use serde::Serialize;

use super::pass::Report;
use super::stayed_rows::StayedRows;

/// What a pass by hand did, or would do.
#[derive(Debug, Serialize)]
pub struct ManualReport {
    /// Whether this is a preview.
    pub dry_run: bool,
    /// Rows that the rule named before it began.
    pub would_delete: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Whether it reached its end; absent in a preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<bool>,
    /// Rows that could not be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stayed: Option<StayedRows>,
}

impl ManualReport {
    /// Of a dry run.
    #[must_use]
    pub const fn preview(would_delete: u64) -> Self {
        Self { dry_run: true, would_delete, deleted: 0, completed: None, stayed: None }
    }

    /// Of a pass.
    #[must_use]
    pub fn new(would_delete: u64, report: Report) -> Self {
        let Report { deleted, completed, stayed, .. } = report;
        Self { dry_run: false, would_delete, deleted, completed: Some(completed), stayed }
    }
}

/// The sentence under a table.
impl fmt::Display for ManualReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            write!(f, "would delete {}; nothing was changed, add --yes to do it", self.would_delete)
        } else {
            write!(f, "deleted {}", self.deleted)
        }
    }
}
