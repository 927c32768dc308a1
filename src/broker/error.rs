use lapin::protocol::AMQPSoftError;

use super::connect_failure::{self, BrokerConnectFailure};
use super::reply::{reply_text, soft_error};

/// A request to the broker failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// An operation failed.
    #[error("could not {operation}: {}", reply_text(cause))]
    Failed {
        /// What was attempted, to complete the sentence "could not …".
        operation: &'static str,
        /// What lapin or the broker said. Not a source: its text has its own causes in it, so a chain would repeat them.
        cause: lapin::Error,
    },
    /// The broker did not answer in time.
    #[error("could not {0}: no answer in time")]
    TimedOut(&'static str),
    /// There is no connection.
    #[error("could not connect to RabbitMQ at {server}: {failure}; {fix}")]
    NotConnected {
        /// As in `amqp://host:5672`.
        server: String,
        /// Why.
        failure: BrokerConnectFailure,
        /// How to fix it.
        fix: &'static str,
    },
    /// Exchanges or queues are missing, or differ from what they should be.
    #[error("{0}")]
    Topology(String),
}

impl BrokerError {
    pub(super) fn during(operation: &'static str) -> impl FnOnce(lapin::Error) -> Self {
        move |cause| Self::Failed { operation, cause }
    }

    /// Whether retrying can succeed. It cannot after a refused login, without a permission, or with a wrong topology: these stop the
    /// program at its start.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Topology(_) => false,
            Self::TimedOut(_) => true,
            Self::NotConnected { failure, .. } => failure.is_transient(),
            Self::Failed { cause, .. } => connect_failure::is_transient(cause),
        }
    }

    /// The soft error with which the broker closed the channel, if it did.
    pub(super) fn soft_error(&self) -> Option<AMQPSoftError> {
        match self {
            Self::Failed { cause, .. } => soft_error(cause),
            Self::TimedOut(_) | Self::NotConnected { .. } | Self::Topology(_) => None,
        }
    }

    /// The soft error with the reply text; any other error as it is.
    pub(super) fn into_soft_error(self) -> Result<(AMQPSoftError, String), Self> {
        match &self {
            Self::Failed { cause, .. } => soft_error(cause).map(|soft| (soft, reply_text(cause))).ok_or(self),
            Self::TimedOut(_) | Self::NotConnected { .. } | Self::Topology(_) => Err(self),
        }
    }

    /// The error and its causes in one line. The broker's text names exchanges, queues and users, never a password.
    #[must_use]
    pub fn one_line(&self) -> String {
        self.to_string().replace(['\r', '\n'], " ")
    }
}
