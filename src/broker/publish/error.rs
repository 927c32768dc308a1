use lapin::Error;

use crate::broker::error::BrokerError;
use crate::broker::reply::{is_rejection, reply_text};
use crate::message::InvalidStatusMessage;

/// Why a message is not safely in a queue. Its text is one line, with the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The exchange routes it to no queue; the broker returned it.
    #[error("unroutable: no queue is bound to exchange {exchange} for routing key {routing_key}")]
    Unroutable {
        /// The exchange it was published to.
        exchange: String,
        /// The routing key it was published with.
        routing_key: String,
    },
    /// It has no JSON form; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidStatusMessage),
    /// The broker answered with a nack, for instance because the queue is full.
    #[error("refused by the broker")]
    Refused,
    /// The broker closed the channel or the connection over it, and would do so again: no such exchange, no permission, headers that
    /// do not fit into a frame, a refused login. With the broker's reply text.
    #[error("rejected by the broker: {0}")]
    Rejected(String),
    /// The broker did not answer: the message may be in the queue or not.
    #[error("unconfirmed: {0}")]
    Unconfirmed(String),
}

impl PublishError {
    /// Whether the same message may succeed later: the broker was away ([`Unconfirmed`](Self::Unconfirmed)) or had no room
    /// ([`Refused`](Self::Refused)). The others last until somebody changes the topology, a permission or the message.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unconfirmed(_) | Self::Refused => true,
            Self::Unroutable { .. } | Self::Invalid(_) | Self::Rejected(_) => false,
        }
    }

    /// For a message in flight when its channel or connection ended with this error.
    pub(super) fn channel_ended(error: &Error) -> Self {
        let text = reply_text(error).replace(['\r', '\n'], " ");
        if is_rejection(error) { Self::Rejected(text) } else { Self::Unconfirmed(text) }
    }

    /// For every message, where no connection can be made.
    pub(super) fn not_connected(error: &BrokerError) -> Self {
        if error.is_transient() { Self::Unconfirmed(error.one_line()) } else { Self::Rejected(error.one_line()) }
    }

    pub(super) fn unconfirmed(why: &str) -> Self {
        Self::Unconfirmed(why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_for_which_there_is_no_connection_is_rejected_only_where_trying_again_is_no_use() {
        let late = PublishError::not_connected(&BrokerError::TimedOut("connect"));
        assert!(matches!(late, PublishError::Unconfirmed(_)), "{late:?}");
        let wrong = PublishError::not_connected(&BrokerError::Topology("no such exchange".to_owned()));
        assert_eq!(wrong, PublishError::Rejected("no such exchange".to_owned()));
    }
}
