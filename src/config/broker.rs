use clap::{Args, ValueEnum};
use secrecy::SecretString;

use super::database::secret;

/// How to reach RabbitMQ, and the names of exchange and queue.
#[derive(Debug, Clone, Args)]
pub struct BrokerOptions {
    /// RabbitMQ (3.10 to 4.x), amqp:// or amqps://
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true, hide_default_value = true, value_parser = secret)]
    pub amqp_url: Option<SecretString>,

    /// Durable topic exchange that the backend publishes to
    #[arg(long, env = "LIFECYCLE_EXCHANGE", value_name = "NAME", default_value = "event.status", value_parser = name)]
    pub exchange: String,

    /// Quorum queue of the worker, bound with event.status.#
    #[arg(long, env = "LIFECYCLE_QUEUE", value_name = "NAME", default_value = "snapshot-lifecycle", value_parser = name)]
    pub queue: String,
}

/// Who declares exchanges and queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopologyMode {
    /// The worker declares what is missing.
    Declare,
    /// Somebody else does; the worker reports what is missing and never declares.
    Verify,
}

/// How messages are consumed.
#[derive(Debug, Clone, Copy, Args)]
pub struct MessageOptions {
    /// Whether the worker declares its exchanges and queues, or only verifies that they exist
    #[arg(long, env = "LIFECYCLE_TOPOLOGY", value_enum, default_value_t = TopologyMode::Declare)]
    pub topology: TopologyMode,

    /// Unacknowledged messages at most, which bounds the memory
    #[arg(long, env = "LIFECYCLE_PREFETCH", value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..))]
    pub prefetch: u16,

    /// Size above which a message is dead-lettered without being parsed
    #[arg(long, env = "LIFECYCLE_MAX_MESSAGE_BYTES", value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=134_217_728))]
    pub max_message_bytes: u32,

    /// Attempts before a failing message is dead-lettered
    #[arg(long, env = "LIFECYCLE_MAX_ATTEMPTS", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_attempts: u32,
}

/// AMQP names are at most 255 bytes; ours get suffixes such as `.dead-letter`.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if (1..=200).contains(&text.len()) && !text.starts_with("amq.") && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("1 to 200 bytes without control characters, not beginning with amq.".to_owned())
    }
}
