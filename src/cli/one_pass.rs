//! What `sweep` and `evict` share: one pass, with a progress bar, stopped by a signal, and how the command ends.

use std::process::ExitCode;

use anyhow::bail;

use super::interrupt::stop_on_signals;
use super::output::{ConfirmOptions, note};
use crate::passes::{ManualPass, ManualReport, Pass};
use crate::storage::Database;
use crate::terminal::progress;

/// Runs the pass where that is confirmed, with a progress bar of this length, until a signal ends it between two batches.
pub(super) async fn one_pass(
    database: &Database,
    pass: &impl Pass,
    confirm: ConfirmOptions,
    rate: Option<u32>,
    expected: u64,
) -> anyhow::Result<ManualReport> {
    if !confirm.yes {
        return Ok(ManualReport::preview(expected));
    }
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
    Ok(ManualReport::new(expected, report))
}

/// How the command ends, after its answer.
pub(super) fn end(report: ManualReport) -> anyhow::Result<ExitCode> {
    match (report.stayed, report.completed) {
        (Some(stayed), _) => bail!("{stayed}"),
        (None, Some(false)) => Ok(ExitCode::FAILURE),
        (None, Some(true) | None) => Ok(ExitCode::SUCCESS),
    }
}
