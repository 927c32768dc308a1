//! What `sweep` and `evict` share: one pass under the lease, with a progress bar, stopped by a signal between two batches, and its answer.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::interrupt;
use super::output::{note, progress};
use crate::passes::{Memory, Pass, PassContext, Report, Stayed};
use crate::storage::{Database, HeldLease};

/// A worker's pass is over long before, unless it is held back by a delete rate.
const WAIT_AT_MOST: Duration = Duration::from_mins(1);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What a pass would do or did, the same in the answer of both commands.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    dry_run: bool,
    would_delete: u64,
    deleted: u64,
    /// Absent where nothing was to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stayed: Option<Stayed>,
}

impl Outcome {
    /// Of a pass that was not made.
    pub(super) const fn preview(would_delete: u64) -> Self {
        Self { dry_run: true, would_delete, deleted: 0, completed: None, stayed: None }
    }

    /// Of a pass that was made.
    pub(super) fn of(would_delete: u64, report: Report) -> Self {
        let Report { deleted, completed, stayed, .. } = report;
        Self { dry_run: false, would_delete, deleted, completed: Some(completed), stayed }
    }

    /// The sentence under the table.
    pub(super) fn remark(&self) -> String {
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

/// Does the pass; the length is only for the progress bar.
pub(super) async fn one_pass(
    database: &Database,
    pass: &impl Pass,
    rate: Option<u32>,
    expected: u64,
) -> anyhow::Result<Report> {
    let lease = wait_for_lease(database, pass).await?;
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "ends with the command")]
    let listener = tokio::spawn(async move {
        interrupt::interrupted().await;
        interrupted.cancel();
    });
    let bar = progress(Some(expected), "snapshots");
    let context = PassContext {
        database,
        lease,
        rate,
        // There is no next pass: this one goes through to the end.
        failing_at_most: Duration::MAX,
        stop: &stop,
        on_deleted: &|rows| bar.inc(rows),
    };
    let result = pass.run_once(&context, &mut Memory::default()).await;
    bar.finish_and_clear();
    listener.abort();
    let completed = pass.is_whole() && result.as_ref().is_ok_and(|report| report.completed);
    database.lease_release(lease, completed).await.ok(); // it ends by itself otherwise
    let report = result?;
    if !report.completed && report.stayed.is_none() {
        note("stopped; what was deleted is committed, and the same command does the rest");
    }
    Ok(report)
}

async fn wait_for_lease(database: &Database, pass: &impl Pass) -> anyhow::Result<HeldLease<'static>> {
    let holder = Uuid::new_v4();
    let began = Instant::now();
    let mut said = false;
    loop {
        let attempt = database.lease_acquire(pass.lease(), holder, None).await.context("could not begin")?;
        if let Some(lease) = attempt.held() {
            return Ok(lease);
        }
        if began.elapsed() > WAIT_AT_MOST {
            bail!("a worker is in the middle of the same pass; try again later");
        }
        if !said {
            note("a worker is in the middle of the same pass; waiting for it");
            said = true;
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}
