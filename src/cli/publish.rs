use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::interrupt::stop_on_signals;
use super::output::{OutputOptions, write_stdout};
use super::status_message::StatusMessageOptions;
use crate::broker::BrokerAddress;
use crate::config::BrokerOptions;
use crate::message::StatusMessage;
use crate::publication::{FilePublication, FileReport, MessagePublication, MessageReport};
use crate::terminal::{Table, counted, if_it_fits, progress};

/// Publishes one status message, or many from a file, each confirmed by the broker
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["event_id", "from", "schema"])))]
pub(super) struct Options {
    #[command(flatten)]
    one: StatusMessageOptions,
    /// Many messages, one JSON object per line; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "schema")]
    from: Option<PathBuf>,
    /// Skip the first lines of the file, to continue where an earlier call stopped
    #[arg(long, value_name = "LINES", default_value_t = 0, requires = "from")]
    skip: u64,
    /// Print the JSON Schema of the message and do nothing else
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        // One of the three: clap has asked for it.
        if self.schema {
            write_stdout(StatusMessage::json_schema().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        let (address, exchange) = (BrokerAddress::parse(self.broker.amqp_url.as_ref())?, &self.broker.exchange);
        if let Some(message) = self.one.message() {
            let report = MessagePublication { address, exchange, message }.run().await?;
            self.output.print(&report, message_table)?;
        } else if let Some(from) = &self.from {
            let (stop, bar) = (stop_on_signals().soft, progress(None, "messages"));
            let on_confirmed = |confirmed| bar.set_position(confirmed);
            let file = FilePublication {
                address: &address,
                exchange,
                from,
                skip: self.skip,
                stop: &stop,
                on_confirmed: &on_confirmed,
            };
            let done = file.run().await;
            bar.finish_and_clear();
            self.output.print(&done?, file_table)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn message_table(report: &MessageReport) -> Table {
    let id = report.message_id.map(|id| id.to_string()).unwrap_or_default();
    Table::new(["message".into(), if_it_fits("routing key"), if_it_fits("exchange")])
        .row([id, report.routing_key.clone(), report.exchange.clone()])
        .footer("1 message published and confirmed")
}

fn file_table(report: &FileReport) -> Table {
    Table::new(["exchange", "confirmed"])
        .row([report.exchange.clone(), report.confirmed.to_string()])
        .footer(format!("{} published and confirmed", counted(report.confirmed, "message")))
}
