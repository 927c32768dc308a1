use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Hands;
use super::filter::Filter;
use super::survey::{Survey, of_all, rows, survey};
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

/// The dead letters, and what may still become one.
#[derive(Serialize)]
struct Counted {
    #[serde(flatten)]
    survey: Survey,
    waiting_for_retry: Option<u32>,
}

impl Stats {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let look = async |hands: &mut Hands| {
            // Not known where the user may not look at the wait queues.
            let waiting_for_retry = hands.queue.retries_waiting().await.ok();
            Ok(Counted { survey: survey(hands, &self.filter, u32::MAX).await?, waiting_for_retry })
        };
        let counted = super::with_queue(&self.broker, look).await?;
        self.output.print(&counted, |Counted { survey, waiting_for_retry }| {
            let all = of_all(survey.matched, survey.letters);
            rows(&survey.reasons).footer(match waiting_for_retry {
                None | Some(0) => all,
                Some(1) => format!("{all}; beside them 1 message waits for another attempt"),
                Some(more) => format!("{all}; beside them {more} messages wait for another attempt"),
            })
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
