//! What `sweep` and `evict` share: one pass under the lease, with a progress bar, stopped by Ctrl-C between two batches.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::output::{note, progress};
use crate::retention::{Pass, PassContext, Report};
use crate::storage::{Acquired, Database};

/// A worker's pass is over long before, unless it is held back by a delete rate.
const WAIT_AT_MOST: Duration = Duration::from_mins(1);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Does the pass; the length is only for the progress bar.
pub(super) async fn one_pass(
    database: &Database,
    pass: &impl Pass,
    rate: Option<u32>,
    expected: u64,
) -> anyhow::Result<Report> {
    let holder = Uuid::new_v4();
    wait_for_lease(database, pass, holder).await?;
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    let listener = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let bar = progress(Some(expected), "snapshots");
    let context = PassContext { database, holder, rate, stop: &stop, on_deleted: &|rows| bar.inc(rows) };
    let result = pass.run_once(&context).await;
    bar.finish_and_clear();
    listener.abort();
    let completed = result.as_ref().is_ok_and(|report| report.completed);
    database.release_lease(pass.lease(), holder, completed).await.ok(); // it ends by itself otherwise
    let report = result?;
    if !report.completed {
        note("stopped; what was deleted is committed, and the same command does the rest");
    }
    Ok(report)
}

async fn wait_for_lease(database: &Database, pass: &impl Pass, holder: Uuid) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut said = false;
    while database.acquire_lease(pass.lease(), holder, None).await.context("could not begin")? != Acquired::Yes {
        if began.elapsed() > WAIT_AT_MOST {
            bail!("a worker is in the middle of the same pass; try again later");
        }
        if !said {
            note("a worker is in the middle of the same pass; waiting for it");
            said = true;
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
    Ok(())
}
