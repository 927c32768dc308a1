//! One status message, or a file of them.

mod message;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use crate::broker::BrokerAddress;
use crate::cli::interrupt::stop_on_signals;
use crate::cli::output::{OutputOptions, write_stdout};
use crate::config::{BrokerOptions, variable};
use crate::message::{StatusMessage, TraceContext};
use crate::publication::{FilePublication, MessagePublication};
use crate::terminal::progress;

/// Publishes one status message, or many from a file, each confirmed by the broker
///
/// Continues the trace of the variables TRACEPARENT and TRACESTATE (W3C), where its caller has set them.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["event_id", "from", "schema"])))]
pub(super) struct Options {
    #[command(flatten)]
    one: message::StatusMessageOptions,
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
            return write_stdout(StatusMessage::json_schema().as_bytes()).map(|()| ExitCode::SUCCESS);
        }
        let (address, exchange) = (BrokerAddress::parse(self.broker.amqp_url.as_ref())?, &self.broker.exchange);
        let trace_context = trace_context();
        if let Some(message) = self.one.message(trace_context.clone()) {
            let report = MessagePublication { address, exchange, message }.run().await?;
            self.output.print(&report, table::of_message)?;
        } else if let Some(from) = &self.from {
            let (stop, bar) = (stop_on_signals().soft, progress(None, "messages"));
            let file = FilePublication {
                address: &address,
                exchange,
                from,
                skip: self.skip,
                trace_context,
                stop: &stop,
                on_confirmed: &|confirmed| bar.set_position(confirmed),
            };
            let done = file.run().await;
            bar.finish_and_clear();
            self.output.print(&done?, table::of_file)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a program that traces sets for those that it calls (OpenTelemetry, environment variables as context carriers). As in headers, what
/// is no trace context is as good as none.
fn trace_context() -> Option<TraceContext> {
    let text = |name| variable(name)?.into_string().ok();
    let context: TraceContext = text("TRACEPARENT")?.parse().ok()?;
    Some(match text("TRACESTATE") {
        Some(state) => context.with_state(&state),
        None => context,
    })
}
