use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{OutputOptions, Rows};
use crate::config::DatabaseOptions;
use crate::storage::{Database, OutboxBacklog, OutboxError, OutboxSource, OutboxTrigger, StorageError};

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

/// Removes the trigger from all tables; what is recorded is still published by `run`
#[derive(Debug, Args)]
struct Uninstall {
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

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Install(install) => {
                let database = open(&install.database).await?;
                let (schema, table) = install.table.split_once('.').unwrap_or(("public", &install.table));
                let source = OutboxSource {
                    schema: schema.to_owned(),
                    table: table.to_owned(),
                    id_column: install.id_column,
                    status_column: install.status_column,
                    team_column: install.team_column,
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
            Command::Uninstall(uninstall) => {
                let database = open(&uninstall.database).await?;
                database.uninstall_outbox().await.map_err(explained)?;
                show(database, uninstall.output, "").await
            }
        }
    }
}

async fn open(options: &DatabaseOptions) -> anyhow::Result<Database> {
    let database = Database::new(options.database_url.as_ref(), 1)?;
    database.check_access().await?;
    Ok(database)
}

async fn show(database: Database, output: OutputOptions, done: &str) -> anyhow::Result<ExitCode> {
    let answer = Answer { installed: database.outbox_triggers().await?, backlog: database.outbox_backlog().await? };
    database.close().await;
    output.print(&answer, |answer| {
        let rows = Rows::new(["table", "columns", "fires"]);
        let rows = answer.installed.iter().fold(rows, |rows, trigger| {
            let fires = match (trigger.enabled, trigger.outdated) {
                (true, false) => "yes",
                (true, true) => "yes, but columns have other names by now; install it anew",
                (false, _) => "no, or not always: disabled",
            };
            rows.row([trigger.table.clone(), trigger.columns.clone(), fires.to_owned()])
        });
        let OutboxBacklog { pending, oldest_seconds } = answer.backlog;
        let waiting = match pending {
            0 => "nothing waits to be published".to_owned(),
            _ => format!("{pending} records wait to be published, the oldest for {oldest_seconds} s"),
        };
        let state = if answer.installed.is_empty() { "the trigger is on no table" } else { "" };
        let remarks: Vec<_> = [done, state, &waiting].into_iter().filter(|text| !text.is_empty()).collect();
        rows.remark(remarks.join("\n"))
    })?;
    Ok(ExitCode::SUCCESS)
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
