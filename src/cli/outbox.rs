use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{ConfirmOptions, OutputOptions};
use crate::config::{DatabaseOptions, broker_name};
use crate::storage::{Database, OutboxBacklog, OutboxColumns, OutboxError, OutboxSource, OutboxTrigger, StorageError};
use crate::terminal::Table;

/// The trigger on the host's events table that records status changes for publishing
///
/// With it a backend that speaks only to the database publishes every status change without a line of code: the change is
/// recorded in the same transaction, and `run` publishes what is recorded.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Install(Install),
    Status(Status),
    Uninstall(Uninstall),
}

/// Makes the trigger; made anew, it may have other columns
///
/// Needs the role that ran `migrate` and owns the table. Waits two seconds at most for the table's lock.
#[derive(Debug, Args)]
struct Install {
    /// The table of events, with its schema unless that is public
    #[arg(long, value_name = "TABLE", default_value = "events")]
    table: String,
    /// The event's id, a UUID
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    id_column: String,
    /// The status, a text or an enumeration
    #[arg(long, value_name = "COLUMN", default_value = "status")]
    status_column: String,
    /// The event's team, a UUID; limits each delete to that team
    #[arg(long, value_name = "COLUMN")]
    team_column: Option<String>,
    /// Records a row that is inserted, too, not only a change of status: then every row of an import or a restore ends its event
    /// anew, and takes the snapshots made since
    #[arg(long)]
    on_insert: bool,
    /// Where the changes are published, for fleets that share the database [default: the exchange of the fleet that takes them]
    #[arg(long, env = "LIFECYCLE_EXCHANGE", value_name = "NAME", value_parser = broker_name)]
    exchange: Option<String>,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Shows where the trigger is, and what waits to be published
#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Removes the trigger from all tables or one; what is recorded is still published by `run`
///
/// Without --yes it shows from which.
#[derive(Debug, Args)]
struct Uninstall {
    /// Only from this table, with its schema unless that is public
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    #[command(flatten)]
    confirm: ConfirmOptions,
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

#[derive(Debug, Serialize)]
struct Uninstalled {
    dry_run: bool,
    /// What is removed, or would be.
    triggers: Vec<OutboxTrigger>,
    removed: usize,
    #[serde(flatten)]
    answer: Answer,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Install(install) => {
                let database = open(&install.database).await?;
                let (schema, table) = split(&install.table);
                let source = OutboxSource {
                    schema: schema.to_owned(),
                    table: table.to_owned(),
                    columns: OutboxColumns {
                        id: install.id_column,
                        status: install.status_column,
                        team: install.team_column,
                    },
                    on_insert: install.on_insert,
                    exchange: install.exchange,
                };
                match database.install_outbox(&source).await {
                    Ok(()) => show(database, install.output, "status changes are recorded from now on").await,
                    Err(OutboxError::Storage(error)) => Err(explained(error)),
                    Err(error) => Err(error.into()),
                }
            }
            Command::Status(status) => {
                let database = open(&status.database).await?;
                show(database, status.output, "").await
            }
            Command::Uninstall(uninstall) => uninstall.run().await,
        }
    }
}

impl Uninstall {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database).await?;
        let mut triggers = database.outbox_triggers().await?;
        if let Some((schema, table)) = self.table.as_deref().map(split) {
            triggers.retain(|trigger| trigger.is_on(schema, table));
        }
        let mut removed = 0;
        if self.confirm.yes {
            database.uninstall_outbox(&triggers).await.map_err(explained)?;
            removed = triggers.len();
        }
        let answer = look(&database).await?;
        database.close().await;
        self.output.print(&Uninstalled { dry_run: !self.confirm.yes, triggers, removed, answer }, |uninstalled| {
            let rows = uninstalled.triggers.iter().fold(Table::new(["table"]), |rows, it| rows.row([it.table.clone()]));
            let done = match (uninstalled.triggers.is_empty(), uninstalled.dry_run) {
                (true, _) => "the trigger is on no such table",
                (false, true) => "would remove the trigger from these tables; nothing was changed, add --yes to do it",
                (false, false) => "removed the trigger from these tables",
            };
            rows.footer(format!("{done}\n{}", waiting(uninstalled.answer.backlog)))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Schema and name.
fn split(table: &str) -> (&str, &str) {
    table.split_once('.').unwrap_or(("public", table))
}

async fn open(options: &DatabaseOptions) -> anyhow::Result<Database> {
    let database = Database::new(options.database_url.as_ref(), 1)?;
    database.check_access().await?;
    Ok(database)
}

async fn look(database: &Database) -> anyhow::Result<Answer> {
    Ok(Answer { installed: database.outbox_triggers().await?, backlog: database.outbox_backlog().await? })
}

async fn show(database: Database, output: OutputOptions, done: &str) -> anyhow::Result<ExitCode> {
    let answer = look(&database).await?;
    database.close().await;
    output.print(&answer, |answer| {
        let mut rows = Table::new(["table", "columns", "records", "fires"]);
        let mut remarks = vec![done.to_owned()];
        for OutboxTrigger { table, columns, on_insert, exchange, enabled, problem, .. } in &answer.installed {
            let records = if *on_insert { "changes and inserts" } else { "changes" };
            let fires = if *enabled { "yes" } else { "no, or not always" };
            rows.push([table.clone(), columns.to_string(), records.to_owned(), fires.to_owned()]);
            remarks.extend(exchange.iter().map(|exchange| format!("{table} is published to the exchange {exchange}")));
            remarks.extend(problem.iter().map(|problem| format!("{table}: {problem}; run `outbox install` anew")));
        }
        if answer.installed.is_empty() {
            remarks.push("the trigger is on no table".to_owned());
        }
        remarks.push(waiting(answer.backlog));
        remarks.retain(|remark| !remark.is_empty());
        rows.footer(remarks.join("\n"))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn waiting(OutboxBacklog { pending, oldest_seconds }: OutboxBacklog) -> String {
    match pending {
        0 => "nothing waits to be published".to_owned(),
        _ => format!("{pending} records wait to be published, the oldest for {oldest_seconds} s"),
    }
}

fn explained(error: StorageError) -> anyhow::Error {
    let (denied, locked) = (error.is_permission_denied(), error.code().as_deref() == Some("55P03"));
    let error = anyhow::Error::from(error);
    if denied {
        error.context("this needs the role that ran `migrate` and owns the table, in DATABASE_URL")
    } else if locked {
        error.context("the table is locked by others; nothing was changed, try again")
    } else {
        error
    }
}
