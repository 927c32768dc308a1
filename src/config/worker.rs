use clap::Args;

use super::broker::{BrokerOptions, MessageOptions};
use super::database::DatabaseOptions;
use super::http::HttpOptions;
use super::passes::PassOptions;
use super::process::ProcessOptions;

/// The worker's configuration: `run` takes it, and `doctor` checks it.
#[derive(Debug, Clone, Args)]
pub struct WorkerOptions {
    /// PostgreSQL.
    #[command(flatten, next_help_heading = "PostgreSQL")]
    pub database: DatabaseOptions,
    /// RabbitMQ.
    #[command(flatten, next_help_heading = "RabbitMQ")]
    pub broker: BrokerOptions,
    /// How messages are consumed.
    #[command(flatten, next_help_heading = "Messages")]
    pub messages: MessageOptions,
    /// The passes over the whole table.
    #[command(flatten, next_help_heading = "Passes")]
    pub passes: PassOptions,
    /// The HTTP server.
    #[command(flatten, next_help_heading = "Process")]
    pub http: HttpOptions,
    /// The process as a whole.
    #[command(flatten)]
    pub process: ProcessOptions,
}
