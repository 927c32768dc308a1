use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::one_pass::one_pass;
use super::output::{ConfirmOptions, OutputOptions, Rows};
use crate::config::{DatabaseOptions, RateOption};
use crate::retention::TtlSweep;
use crate::storage::{Database, Expired};

/// Deletes expired snapshots now, by the database's clock
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten)]
    rate: RateOption,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    expired: Expired,
    deleted: u64,
    completed: bool,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = Database::new(self.database.database_url.as_ref(), 2)?;
        database.check_access().await?;
        let expired = database.count_expired().await?;
        let mut answer = Answer { dry_run: !self.confirm.yes, expired, deleted: 0, completed: false };
        if self.confirm.yes {
            let report = one_pass(&database, &TtlSweep, self.rate.per_second(), expired.rows.unsigned_abs()).await?;
            answer.deleted = report.deleted;
            answer.completed = report.completed;
        }
        database.close().await;
        self.output.print(&answer, |answer| {
            Rows::new(["expired", "oldest"])
                .row([answer.expired.rows.to_string(), format!("{} s ago", answer.expired.oldest_seconds)])
                .remark(if answer.dry_run {
                    format!("would delete {}; nothing was changed, add --yes to do it", answer.expired.rows)
                } else {
                    format!("deleted {}", answer.deleted)
                })
        })?;
        Ok(if answer.dry_run || answer.completed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
