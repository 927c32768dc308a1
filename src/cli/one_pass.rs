//! What `sweep` and `evict` share: one pass, with a progress bar, stopped by a signal, and its answer.

use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use super::interrupt::stop_on_signals;
use super::output::{note, progress};
use crate::passes::{ManualPass, Pass, Report, StayedRows};
use crate::storage::Database;

/// What a pass would do or did, the same in the answer of both commands.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    dry_run: bool,
    would_delete: u64,
    deleted: u64,
    /// Absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stayed: Option<StayedRows>,
}

impl Outcome {
    /// Of a dry run.
    pub(super) const fn preview(would_delete: u64) -> Self {
        Self { dry_run: true, would_delete, deleted: 0, completed: None, stayed: None }
    }

    /// Of a pass.
    pub(super) fn of(would_delete: u64, report: Report) -> Self {
        let Report { deleted, completed, stayed, .. } = report;
        Self { dry_run: false, would_delete, deleted, completed: Some(completed), stayed }
    }

    /// The sentence under the table.
    pub(super) fn footer(&self) -> String {
        if self.dry_run {
            format!("would delete {}; nothing was changed, add --yes to do it", self.would_delete)
        } else {
            format!("deleted {}", self.deleted)
        }
    }

    /// How the command ends, after its answer.
    pub(super) fn end(self) -> anyhow::Result<ExitCode> {
        match (self.stayed, self.completed) {
            (Some(stayed), _) => bail!("{stayed}"),
            (None, Some(false)) => Ok(ExitCode::FAILURE),
            (None, Some(true) | None) => Ok(ExitCode::SUCCESS),
        }
    }
}

/// Runs the pass, with a progress bar of this length, until a signal ends it between two batches.
pub(super) async fn one_pass(
    database: &Database,
    pass: &impl Pass,
    rate: Option<u32>,
    expected: u64,
) -> anyhow::Result<Report> {
    let bar = progress(Some(expected), "snapshots");
    let pass = ManualPass {
        pass,
        database,
        rate,
        on_wait: &|| note("a worker is in the middle of the same pass; waiting for it"),
        on_deleted: &|rows| bar.inc(rows),
    };
    let result = pass.run(&stop_on_signals()).await;
    bar.finish_and_clear();
    let report = result?;
    if !report.completed && report.stayed.is_none() {
        note("stopped; what was deleted is committed, and the same command does the rest");
    }
    Ok(report)
}
