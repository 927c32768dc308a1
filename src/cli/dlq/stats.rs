use std::process::ExitCode;

use clap::Args;

use super::queue::QueueOptions;
use super::table::{by_reason, of_all};
use crate::dead_letters::{Count, Filter, count};

/// Counts dead letters by reason, with the oldest and an example of each; nothing is changed
#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    queue: QueueOptions,
}

impl Stats {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let counted = count(&self.queue.dead_letters()?, &Filter::from(&self.queue.filter)).await?;
        self.queue.output.print(&counted, |Count { summary, waiting_for_retry }| {
            let all = of_all(summary.matched, summary.letters);
            by_reason(&summary.reasons).footer(match waiting_for_retry {
                None | Some(0) => all,
                Some(1) => format!("{all}; in addition, 1 message waits for another attempt"),
                Some(more) => format!("{all}; in addition, {more} messages wait for another attempt"),
            })
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
