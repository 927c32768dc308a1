use std::process::ExitCode;

use clap::Args;

use super::filter::Filter;
use super::survey::{of_all, rows, survey};
use crate::cli::output::OutputOptions;
use crate::config::BrokerOptions;

/// Counts dead letters by reason, with the oldest and an example of each; nothing is changed
#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Stats {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let survey = super::with_queue(&self.broker, async |hands| survey(hands, &self.filter, u32::MAX).await).await?;
        self.output.print(&survey, |survey| rows(&survey.reasons).remark(of_all(survey.matched, survey.letters)))?;
        Ok(ExitCode::SUCCESS)
    }
}
