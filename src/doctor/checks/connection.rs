use crate::broker::BrokerError;
use crate::doctor::Finding;
use crate::storage::ConnectFailure;

pub(in crate::doctor) fn database_not_connected(failure: &ConnectFailure, host: &str) -> Finding {
    Finding::failed("database.connection", format!("PostgreSQL at {host} cannot be used: {failure}"), failure.fix())
}

/// Its own fix apart from what is so.
pub(in crate::doctor) fn rabbitmq_not_connected(error: &BrokerError) -> Finding {
    const CHECK: &str = "rabbitmq.connection";
    match error {
        BrokerError::NotConnected { server, failure, fix } => {
            let why = failure.to_string().replace(['\r', '\n'], " ");
            Finding::failed(CHECK, format!("could not connect to RabbitMQ at {server}: {why}"), *fix)
        }
        other => Finding::failed(CHECK, other.one_line(), "see what RabbitMQ says, and try again"),
    }
}
