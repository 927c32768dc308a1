use std::io;

use lapin::ErrorKind;
use lapin::protocol::AMQPSoftError;

use super::reply::{is_final, is_not_allowed, reply_text, soft_error};
use crate::network::is_certificate_error;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum BrokerConnectFailure {
    /// No address of the name accepts, or TLS fails.
    #[error("{0}")]
    Unreachable(io::Error),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// Something else listens there.
    #[error("what answers there does not speak AMQP 0-9-1")]
    NoBroker,
    /// The broker refuses the login, or went away during it.
    #[error("{}", reply_text(.0))]
    Refused(lapin::Error),
}

impl BrokerConnectFailure {
    /// How to fix it.
    pub(super) fn fix(&self, encrypted: bool) -> &'static str {
        match self {
            Self::TimedOut => {
                "look for a firewall or a wrong address in the broker's URL; a port for TLS does not answer amqp://"
            }
            Self::Unreachable(_) | Self::NoBroker if encrypted => {
                "correct host and port in the broker's URL; amqps needs a port for TLS, the host's name in the certificate, and its authority among the system's or in cacertfile="
            }
            Self::Unreachable(_) | Self::NoBroker => {
                "start RabbitMQ, or correct host and port in the broker's URL; a port for TLS needs amqps://"
            }
            Self::Refused(error) if is_not_allowed(error) => {
                "correct the virtual host in the broker's URL (the vhost / is written %2f, as in amqp://…/%2f), or give the user access to it: rabbitmqctl set_permissions"
            }
            Self::Refused(error) if soft_error(error) == Some(AMQPSoftError::ACCESSREFUSED) => {
                "correct user and password in the broker's URL; RabbitMQ accepts the user guest from its own machine only"
            }
            Self::Refused(_) => "see RabbitMQ's log for the reason",
        }
    }

    /// Whether retrying can succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::TimedOut | Self::NoBroker => true,
            Self::Unreachable(error) => !is_certificate_error(error),
            Self::Refused(error) => is_transient(error),
        }
    }
}

/// Whether retrying can succeed after an error of lapin's, which may be the broker's or the network's.
pub(super) fn is_transient(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::IOError(error) => !is_certificate_error(error),
        _ => !is_final(error),
    }
}
