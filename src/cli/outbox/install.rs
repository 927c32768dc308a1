use std::process::ExitCode;

use clap::Args;

use super::status::{NEEDED, show};
use crate::cli::database::{explained, open};
use crate::cli::output::OutputOptions;
use crate::config::{DatabaseOptions, broker_name};
use crate::outbox::TableName;
use crate::storage::{OutboxColumns, OutboxError, OutboxSource};

/// Installs the trigger, or replaces it with other columns
///
/// Needs the role that ran `migrate` and owns the table. Waits at most two seconds for the table's lock.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// The table of events, with its schema unless that is public
    #[arg(long, value_name = "TABLE", default_value = "events")]
    table: TableName,
    /// The event's id, a UUID
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    id_column: String,
    /// The status, a text or an enumeration
    #[arg(long, value_name = "COLUMN", default_value = "status")]
    status_column: String,
    /// The event's team, a UUID; limits each delete to that team
    #[arg(long, value_name = "COLUMN")]
    team_column: Option<String>,
    /// Record inserted rows too, not only changes of status. Then every row of an import or a restore ends its event again, which deletes
    /// the snapshots made since
    #[arg(long)]
    on_insert: bool,
    /// Exchange to publish the changes to, for fleets that share the database [default: the exchange of the fleet that publishes them]
    #[arg(long, env = "LIFECYCLE_EXCHANGE", value_name = "NAME", value_parser = broker_name)]
    exchange: Option<String>,
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Install {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let source = OutboxSource {
            schema: self.table.schema,
            table: self.table.name,
            columns: OutboxColumns { id: self.id_column, status: self.status_column, team: self.team_column },
            on_insert: self.on_insert,
            exchange: self.exchange,
        };
        match database.outbox_install(&source).await {
            Ok(()) => show(database, self.output, "status changes are recorded from now on\n").await,
            Err(OutboxError::Storage(error)) => Err(explained(error, NEEDED)),
            Err(error) => Err(error.into()),
        }
    }
}
