use std::process::ExitCode;

use clap::Args;

use super::table;
use crate::cli::database::open;
use crate::cli::output::OutputOptions;
use crate::config::DatabaseOptions;
use crate::passes::RetentionEntry;

/// Lists the policy, and how many snapshots each row of it applies to
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let database = open(&self.database, 1).await?;
        let policy = database.retention_list().await?;
        database.close().await;
        let entries: Vec<_> = policy.into_iter().map(RetentionEntry::from).collect();
        self.output.print(&entries, |entries| table::of_policy(entries))?;
        Ok(ExitCode::SUCCESS)
    }
}
