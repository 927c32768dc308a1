use std::process::ExitCode;

use clap::Args;

use super::status::NEEDED;
use crate::cli::database::{explained, open};
use crate::cli::output::{ConfirmOptions, OutputOptions};
use crate::config::DatabaseOptions;
use crate::outbox::{self, TableName, UninstallError};
use crate::terminal::Table;

/// Removes the trigger from all tables or from one; `run` still publishes what is recorded
///
/// Without --yes it shows from which tables.
#[derive(Debug, Args)]
pub(super) struct Uninstall {
    /// Only from this table, with its schema unless that is public
    #[arg(long, value_name = "TABLE")]
    table: Option<TableName>,
    #[command(flatten)]
    confirm: ConfirmOptions,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Uninstall {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let uninstall = outbox::Uninstall { table: self.table };
        let done = if self.confirm.yes { uninstall.run(&database).await } else { uninstall.preview(&database).await };
        let report = done.map_err(|error| match error {
            UninstallError::NotRemoved(error) => explained(error, NEEDED),
            UninstallError::NotRead(error) => error.into(),
        })?;
        database.close().await;
        self.output.print(&report, |report| {
            let table = Table::new(["table"]);
            let table = report.triggers.iter().fold(table, |table, trigger| table.row([trigger.table.clone()]));
            table.footer(report.to_string())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
