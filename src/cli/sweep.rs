use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::database::open;
use super::one_pass::{end, one_pass};
use super::output::{ConfirmOptions, OutputOptions};
use crate::config::{DatabaseOptions, RateOption};
use crate::passes::{DryRun, ManualReport, TtlSweep};
use crate::storage::Expired;
use crate::terminal::{Table, rounded_duration};

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
    #[serde(flatten)]
    report: ManualReport,
    expired: Expired,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 2).await?;
        let expired = TtlSweep.preview(&database).await?;
        let would_delete = expired.rows.unsigned_abs();
        let report = one_pass(&database, &TtlSweep, self.confirm, self.rate.per_second(), would_delete).await?;
        database.close().await;
        let answer = Answer { report, expired };
        self.output.print(&answer, |answer| {
            let oldest = match answer.expired {
                Expired { rows: 0, .. } => "none".to_owned(),
                Expired { oldest, .. } => format!("{} ago", rounded_duration(oldest.as_secs())),
            };
            Table::new(["expired", "oldest"])
                .row([answer.expired.rows.to_string(), oldest])
                .footer(answer.report.to_string())
        })?;
        end(answer.report)
    }
}
