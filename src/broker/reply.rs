//! What RabbitMQ says when it closes a channel or a connection: a reply code and a reply text (AMQP 0-9-1, 4.2.3).

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};

/// The broker's reply text where there is one, or else what lapin says.
pub(super) fn reply_text(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) if !error.get_message().as_str().is_empty() => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// The soft error with which the broker closed the channel, if it did.
pub(super) fn soft_error(error: &Error) -> Option<AMQPSoftError> {
    match kind(error)? {
        AMQPErrorKind::Soft(soft) => Some(soft.clone()),
        AMQPErrorKind::Hard(_) => None,
    }
}

/// Whether the broker closed the connection because the virtual host does not exist or is not open to the user, and not over the login.
pub(super) fn is_not_allowed(error: &Error) -> bool {
    matches!(kind(error), Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)))
}

/// Whether the same request would be answered in the same way until somebody changes permissions or topology.
pub(super) fn is_final(error: &Error) -> bool {
    use AMQPSoftError::{ACCESSREFUSED, NOTFOUND, PRECONDITIONFAILED};
    is_not_allowed(error) || matches!(soft_error(error), Some(ACCESSREFUSED | PRECONDITIONFAILED | NOTFOUND))
}

/// Whether the broker closed channel or connection over the message that was published, and would do so again.
pub(super) fn is_rejection(error: &Error) -> bool {
    use AMQPHardError::{FRAMEERROR, SYNTAXERROR};
    is_final(error)
        || matches!(
            kind(error),
            Some(AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE) | AMQPErrorKind::Hard(FRAMEERROR | SYNTAXERROR))
        )
}

fn kind(error: &Error) -> Option<&AMQPErrorKind> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind()),
        _ => None,
    }
}
