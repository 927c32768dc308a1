use std::process::ExitCode;

use clap::Args;

use super::queue::QueueOptions;
use super::table::by_reason;
use crate::dead_letters::{Filter, count};

/// Counts dead letters by reason, with the oldest and an example of each; nothing is changed
#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    queue: QueueOptions,
}

impl Stats {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let count = count(&self.queue.dead_letters()?, &Filter::from(&self.queue.filter)).await?;
        self.queue.output.print(&count, |count| by_reason(&count.summary.reasons).footer(count.to_string()))?;
        Ok(ExitCode::SUCCESS)
    }
}
