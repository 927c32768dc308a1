use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

/// Something at the broker failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// An operation failed.
    #[error("could not {operation}")]
    Failed {
        /// What was attempted, to complete the sentence "could not …".
        operation: &'static str,
        #[source]
        /// What lapin or the broker said.
        source: lapin::Error,
    },
    /// The broker did not answer in time.
    #[error("could not {0}: no answer in time")]
    TimedOut(&'static str),
    /// Exchanges or queues are not there, or not as they should be.
    #[error("{0}")]
    Topology(String),
}

impl BrokerError {
    pub(super) fn during(operation: &'static str) -> impl FnOnce(lapin::Error) -> Self {
        move |source| Self::Failed { operation, source }
    }

    /// Whether waiting may mend it. A refused login, a missing permission, a wrong topology will not mend themselves, so at the
    /// start they stop the program.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Topology(_) => false,
            Self::TimedOut(_) => true,
            Self::Failed { source, .. } => match source.kind() {
                ErrorKind::ProtocolError(error) => !matches!(
                    error.kind(),
                    AMQPErrorKind::Soft(
                        AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::NOTFOUND
                    ) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
                ),
                _ => true,
            },
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

    /// The error and its causes in one line. The broker's text names exchanges, queues and users, never a password.
    #[must_use]
    pub fn one_line(&self) -> String {
        match self {
            Self::Failed { source, .. } => format!("{self}: {source}").replace(['\r', '\n'], " "),
            Self::TimedOut(_) | Self::Topology(_) => self.to_string(),
        }
    }
}
