use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use super::connection::address::BrokerAddress;
use super::connection::connect::ConnectFailure;

/// Something at the broker failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// An operation failed.
    #[error("could not {operation}: {}", Self::words(cause))]
    Failed {
        /// What was attempted, to complete the sentence "could not …".
        operation: &'static str,
        /// What lapin or the broker said. Not a source: it says its own causes, so a chain would say them twice.
        cause: lapin::Error,
    },
    /// The broker did not answer in time.
    #[error("could not {0}: no answer in time")]
    TimedOut(&'static str),
    /// There is no connection. Says where to and what to do about it.
    #[error("could not connect to RabbitMQ at {server}: {failure}; {fix}")]
    NotConnected {
        /// As in `amqp://host:5672`.
        server: String,
        /// Why.
        failure: ConnectFailure,
        /// What to do about it.
        fix: &'static str,
    },
    /// Exchanges or queues are not there, or not as they should be.
    #[error("{0}")]
    Topology(String),
}

impl BrokerError {
    pub(super) fn during(operation: &'static str) -> impl FnOnce(lapin::Error) -> Self {
        move |cause| Self::Failed { operation, cause }
    }

    pub(super) fn connecting(address: &BrokerAddress, failure: ConnectFailure) -> Self {
        let fix = match &failure {
            ConnectFailure::Silent => {
                "look for a firewall or a wrong address in AMQP_URL; a port for TLS stays silent towards amqp://"
            }
            ConnectFailure::Unreachable(_) | ConnectFailure::NoBroker if address.is_encrypted() => {
                "correct host and port in AMQP_URL; amqps needs a port for TLS, the host's name in the certificate, and its authority among the system's or in cacertfile="
            }
            ConnectFailure::Unreachable(_) | ConnectFailure::NoBroker => {
                "start RabbitMQ, or correct host and port in AMQP_URL; a port for TLS needs amqps://"
            }
            ConnectFailure::Refused(error) if Self::is_not_allowed(error) => {
                "correct the virtual host in AMQP_URL (the vhost / is written %2f, as in amqp://…/%2f), or let the user into it: rabbitmqctl set_permissions"
            }
            ConnectFailure::Refused(error) if Self::soft_error(error) == Some(AMQPSoftError::ACCESSREFUSED) => {
                "correct user and password in AMQP_URL; RabbitMQ lets the user guest in from its own machine only"
            }
            ConnectFailure::Refused(_) => "see what RabbitMQ says in its log",
        };
        Self::NotConnected { server: address.host(), failure, fix }
    }

    /// Whether waiting may mend it. A refused login, a missing permission, a wrong topology will not mend themselves, so at the
    /// start they stop the program.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Topology(_) => false,
            Self::TimedOut(_)
            | Self::NotConnected { failure: ConnectFailure::Silent | ConnectFailure::NoBroker, .. } => true,
            Self::NotConnected { failure: ConnectFailure::Unreachable(error), .. } => {
                !is_about_a_certificate(&error.to_string())
            }
            Self::Failed { cause, .. } | Self::NotConnected { failure: ConnectFailure::Refused(cause), .. } => {
                match cause.kind() {
                    ErrorKind::ProtocolError(error) => !matches!(
                        error.kind(),
                        AMQPErrorKind::Soft(
                            AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::NOTFOUND
                        ) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
                    ),
                    ErrorKind::IOError(error) => !is_about_a_certificate(&error.to_string()),
                    _ => true,
                }
            }
        }
    }

    /// The soft error by which the broker closed the channel, if that is what happened.
    pub(super) fn soft_error(error: &lapin::Error) -> Option<AMQPSoftError> {
        match error.kind() {
            ErrorKind::ProtocolError(error) => match error.kind() {
                AMQPErrorKind::Soft(soft) => Some(soft.clone()),
                AMQPErrorKind::Hard(_) => None,
            },
            _ => None,
        }
    }

    /// Whether the broker closed channel or connection over what was sent, and would do so again.
    pub(super) fn is_rejection(error: &lapin::Error) -> bool {
        matches!(error.kind(), ErrorKind::ProtocolError(error) if matches!(
            error.kind(),
            AMQPErrorKind::Soft(
                AMQPSoftError::ACCESSREFUSED
                    | AMQPSoftError::PRECONDITIONFAILED
                    | AMQPSoftError::NOTFOUND
                    | AMQPSoftError::CONTENTTOOLARGE
            ) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::FRAMEERROR | AMQPHardError::SYNTAXERROR)
        ))
    }

    /// The broker's own words in one line, where it said something.
    pub(super) fn words(error: &lapin::Error) -> String {
        match error.kind() {
            ErrorKind::ProtocolError(error) if !error.get_message().as_str().is_empty() => {
                error.get_message().to_string()
            }
            _ => error.to_string(),
        }
    }

    /// Whether the broker closed the connection because the virtual host is not there or not the user's, and not for the login.
    fn is_not_allowed(error: &lapin::Error) -> bool {
        matches!(error.kind(), ErrorKind::ProtocolError(error)
            if matches!(error.kind(), AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)))
    }

    /// The error and its causes in one line. The broker's text names exchanges, queues and users, never a password.
    #[must_use]
    pub fn one_line(&self) -> String {
        self.to_string().replace(['\r', '\n'], " ")
    }
}

/// Whether one side does not accept the other's certificate, in rustls' words.
fn is_about_a_certificate(words: &str) -> bool {
    ["invalid peer certificate", "received fatal alert"].iter().any(|sign| words.contains(sign))
}
