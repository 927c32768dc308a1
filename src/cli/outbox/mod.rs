//! The trigger on the backend's events table, by hand.

mod install;
mod uninstall;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::database::open;
use super::output::OutputOptions;
use crate::config::DatabaseOptions;
use crate::storage::{Database, OutboxBacklog, OutboxTrigger};
use crate::terminal::Table;

/// The trigger on the backend's events table that records status changes for publishing
///
/// With it a backend that speaks only to the database publishes every status change without a line of code. The trigger records the change
/// in the same transaction, and `run` publishes what is recorded.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Install(install::Install),
    Status(Status),
    Uninstall(uninstall::Uninstall),
}

/// Shows which tables have the trigger, and how many records wait to be published
#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

#[derive(Debug, Serialize)]
struct Answer {
    installed: Vec<OutboxTrigger>,
    #[serde(flatten)]
    backlog: OutboxBacklog,
}

const NEEDED: &str = "this needs the role that ran `migrate` and owns the table, in DATABASE_URL";

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Install(install) => install.run().await,
            Command::Status(status) => show(open(&status.database, 1).await?, status.output, "").await,
            Command::Uninstall(uninstall) => uninstall.run().await,
        }
    }
}

impl Answer {
    async fn read(database: &Database) -> anyhow::Result<Self> {
        Ok(Self { installed: database.outbox_triggers().await?, backlog: database.outbox_backlog().await? })
    }
}

async fn show(database: Database, output: OutputOptions, done: &str) -> anyhow::Result<ExitCode> {
    let answer = Answer::read(&database).await?;
    database.close().await;
    output.print(&answer, |answer| table(answer, done))?;
    Ok(ExitCode::SUCCESS)
}

fn table(answer: &Answer, done: &str) -> Table {
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

fn waiting(OutboxBacklog { pending, oldest }: OutboxBacklog) -> String {
    let oldest_seconds = oldest.as_secs();
    match pending {
        0 => "no record waits to be published".to_owned(),
        1 => format!("1 record waits to be published, for {oldest_seconds} s"),
        _ => format!("{pending} records wait to be published, the oldest for {oldest_seconds} s"),
    }
}

/// A table, with its schema unless that is public.
#[derive(Debug, Clone)]
struct TableName {
    schema: String,
    name: String,
}

impl From<&str> for TableName {
    fn from(text: &str) -> Self {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        Self { schema: schema.to_owned(), name: name.to_owned() }
    }
}
