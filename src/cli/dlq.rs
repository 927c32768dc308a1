use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::{OutputOptions, Rows};
use crate::broker::{BrokerAddress, Topology, peek_dead_letters};
use crate::config::{BrokerOptions, TopologyMode};

/// Looks at dead letters
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
}

/// Lists dead letters, the oldest first; nothing is changed
#[derive(Debug, Args)]
struct List {
    /// Letters at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let address = BrokerAddress::parse(self.broker.amqp_url.as_ref())?;
        let topology = Topology::new(self.broker.exchange, self.broker.queue, TopologyMode::Verify);
        let letters = peek_dead_letters(&address, &topology, self.limit).await?;
        self.output.print(&letters, |letters| {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let rows = Rows::new(["dead-lettered at", "reason", "error", "event", "status", "attempt", "bytes"]);
            let rows = letters.iter().fold(rows, |rows, letter| {
                rows.row([
                    or_dash(&letter.dead_lettered_at),
                    or_dash(&letter.reason),
                    or_dash(&letter.error),
                    or_dash(&letter.event_id),
                    or_dash(&letter.status),
                    letter.attempt.to_string(),
                    letter.size.to_string(),
                ])
            });
            rows.remark(match letters.len() {
                0 => "no dead letters".to_owned(),
                1 => "1 dead letter".to_owned(),
                more => format!("{more} dead letters"),
            })
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
