use clap::Args;

use crate::config::{BrokerOptions, DatabaseOptions, HttpOptions, MessageOptions, PassOptions, ProcessOptions};

/// The worker's configuration: `run` takes it, and `doctor` checks it.
#[derive(Debug, Args)]
pub(super) struct WorkerOptions {
    #[command(flatten, next_help_heading = "PostgreSQL")]
    pub(super) database: DatabaseOptions,
    #[command(flatten, next_help_heading = "RabbitMQ")]
    pub(super) broker: BrokerOptions,
    #[command(flatten, next_help_heading = "Messages")]
    pub(super) messages: MessageOptions,
    #[command(flatten, next_help_heading = "Passes")]
    pub(super) passes: PassOptions,
    #[command(flatten, next_help_heading = "Process")]
    pub(super) http: HttpOptions,
    #[command(flatten)]
    pub(super) process: ProcessOptions,
}
