use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::output::OutputOptions;
use crate::broker::{BrokerAddress, Definitions, Topology};
use crate::config::{BrokerOptions, TopologyMode};
use crate::setting::ConfigError;
use crate::terminal::{Table, text};

/// Prints the exchanges, queues and bindings that the worker declares; as JSON, definitions that RabbitMQ imports
///
/// Connects to nothing. Of AMQP_URL, if there is one, only the vhost is used, / otherwise.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten, next_help_heading = "RabbitMQ")]
    broker: BrokerOptions,
    #[command(flatten, next_help_heading = "Output")]
    output: OutputOptions,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let vhost = self.vhost()?;
        let topology = Topology::new(self.broker.exchange, self.broker.queue, TopologyMode::Declare);
        self.output.print(&Definitions::of(&topology, &vhost), table)?;
        Ok(ExitCode::SUCCESS)
    }

    fn vhost(&self) -> Result<String, ConfigError> {
        let url = self.broker.amqp_url.as_ref();
        url.map_or_else(|| Ok("/".to_owned()), |url| Ok(BrokerAddress::parse(Some(url))?.vhost().to_owned()))
    }
}

fn table(definitions: &Definitions) -> Table {
    let mut table = Table::new(["what".into(), "name".into(), text("how")]);
    for exchange in &definitions.exchanges {
        table.push(["exchange".to_owned(), exchange.name.clone(), exchange.kind.clone()]);
    }
    for queue in &definitions.queues {
        table.push(["queue".to_owned(), queue.name.clone(), listed(&queue.arguments)]);
    }
    for binding in &definitions.bindings {
        let how = format!("from exchange {}, routing key '{}'", binding.source, binding.routing_key);
        table.push(["binding".to_owned(), binding.destination.clone(), how]);
    }
    table.footer("all exchanges and queues are durable")
}

fn listed(arguments: &Map<String, Value>) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    arguments.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect::<Vec<_>>().join(", ")
}
