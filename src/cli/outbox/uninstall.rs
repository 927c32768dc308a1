use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::status::{NEEDED, waiting};
use super::table_name::TableName;
use crate::cli::database::{explained, open};
use crate::cli::output::{ConfirmOptions, OutputOptions};
use crate::config::DatabaseOptions;
use crate::outbox::OutboxStatus;
use crate::storage::OutboxTrigger;
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

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    /// What is removed, or would be.
    triggers: Vec<OutboxTrigger>,
    removed: usize,
    #[serde(flatten)]
    status: OutboxStatus,
}

impl Uninstall {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let mut triggers = database.outbox_triggers().await?;
        if let Some(TableName { schema, name }) = &self.table {
            triggers.retain(|trigger| trigger.is_on(schema, name));
        }
        let mut removed = 0;
        if self.confirm.yes {
            database.outbox_uninstall(&triggers).await.map_err(|error| explained(error, NEEDED))?;
            removed = triggers.len();
        }
        let status = OutboxStatus::read(&database).await?;
        database.close().await;
        self.output.print(&Answer { dry_run: !self.confirm.yes, triggers, removed, status }, table)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(answer: &Answer) -> Table {
    let table = answer.triggers.iter().fold(Table::new(["table"]), |table, it| table.row([it.table.clone()]));
    let done = match (answer.triggers.is_empty(), answer.dry_run) {
        (true, _) => "no such table has the trigger",
        (false, true) => "would remove the trigger from these tables; nothing was changed, add --yes to do it",
        (false, false) => "removed the trigger from these tables",
    };
    table.footer(format!("{done}\n{}", waiting(answer.status.backlog)))
}
