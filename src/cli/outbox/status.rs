use std::process::ExitCode;

use clap::Args;

use crate::cli::database::open;
use crate::cli::output::OutputOptions;
use crate::config::DatabaseOptions;
use crate::outbox::OutboxStatus;
use crate::storage::{Database, OutboxBacklog, OutboxTrigger};
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

/// Answers with the state of things, after `done`.
pub(super) async fn show(database: Database, output: OutputOptions, done: &str) -> anyhow::Result<ExitCode> {
    let answer = OutboxStatus::read(&database).await?;
    database.close().await;
    output.print(&answer, |answer| table(answer, done))?;
    Ok(ExitCode::SUCCESS)
}

fn table(answer: &OutboxStatus, done: &str) -> Table {
    let mut table = Table::new(["table", "columns", "records", "fires"]);
    let mut footer = vec![done.to_owned()];
    for OutboxTrigger { table: name, columns, on_insert, exchange, enabled, problem, .. } in &answer.installed {
        let records = if *on_insert { "changes and inserts" } else { "changes" };
        let fires = if *enabled { "yes" } else { "no, or not always" };
        table.push([name.clone(), columns.to_string(), records.to_owned(), fires.to_owned()]);
        footer.extend(exchange.iter().map(|exchange| format!("{name} is published to the exchange {exchange}")));
        footer.extend(problem.iter().map(|problem| format!("{name}: {problem}; run `outbox install` again")));
    }
    if answer.installed.is_empty() {
        footer.push("no table has the trigger".to_owned());
    }
    footer.push(waiting(answer.backlog));
    footer.retain(|line| !line.is_empty());
    table.footer(footer.join("\n"))
}

pub(super) fn waiting(OutboxBacklog { pending, oldest }: OutboxBacklog) -> String {
    let oldest_seconds = oldest.as_secs();
    match pending {
        0 => "no record waits to be published".to_owned(),
        1 => format!("1 record waits to be published, for {oldest_seconds} s"),
        _ => format!("{pending} records wait to be published, the oldest for {oldest_seconds} s"),
    }
}
