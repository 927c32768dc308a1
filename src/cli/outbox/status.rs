use std::process::ExitCode;

use clap::Args;

use crate::cli::database::open;
use crate::cli::output::OutputOptions;
use crate::config::DatabaseOptions;
use crate::outbox::OutboxStatus;
use crate::storage::Database;
use crate::terminal::Table;

/// Shows which tables have the trigger, and how many records wait to be published
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// For installing and removing the trigger.
pub(super) const NEEDED: &str = "this needs the role that ran `migrate` and owns the table, in DATABASE_URL";

impl Status {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        show(open(&self.database, 1).await?, self.output, "").await
    }
}

/// Answers with the state of things, after the line `done`, if any.
pub(super) async fn show(database: Database, output: OutputOptions, done: &str) -> anyhow::Result<ExitCode> {
    let answer = OutboxStatus::read(&database).await?;
    database.close().await;
    output.print(&answer, |answer| table(answer, done))?;
    Ok(ExitCode::SUCCESS)
}

fn table(status: &OutboxStatus, done: &str) -> Table {
    let table = Table::new(["table", "columns", "records", "fires"]);
    let table = status.installed.iter().fold(table, |table, trigger| {
        let records = if trigger.on_insert { "changes and inserts" } else { "changes" };
        let fires = if trigger.enabled { "yes" } else { "no, or not always" };
        table.row([trigger.table.clone(), trigger.columns.to_string(), records.to_owned(), fires.to_owned()])
    });
    table.footer(format!("{done}{status}"))
}
