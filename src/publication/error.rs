use std::io;
use std::path::PathBuf;

use crate::broker::{BrokerError, PublishError};
use crate::message::InvalidStatusMessage;

/// Why the message is not published.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The worker would dead-letter it, so it was not sent.
    #[error(transparent)]
    Invalid(#[from] InvalidStatusMessage),
    /// The broker has not confirmed it.
    #[error("the message was not published")]
    NotConfirmed(#[from] PublishError),
}

/// Why not every line is published.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not a single line was read.
    #[error("could not open {}", .0.display())]
    Open(PathBuf, #[source] io::Error),
    /// Not a single message was sent.
    #[error(transparent)]
    Connect(#[from] BrokerError),
    /// A message was sent and is not confirmed.
    #[error(
        "line {line}: {error}{others}; {}, continue with --skip {} (some after that line may be published twice, which does no harm)",
        are_confirmed(*.confirmed), line - 1
    )]
    NotConfirmed {
        /// The first such line.
        line: u64,
        /// Its failure.
        error: PublishError,
        /// How many others were in flight and failed too, in words.
        others: String,
        /// Messages that are confirmed.
        confirmed: u64,
    },
    /// A line is no status message, so it was not sent.
    #[error(
        "line {line}: {error}; {}, fix line {line} and continue with --skip {}, or leave it out with --skip {line}",
        are_confirmed(*.confirmed), line - 1
    )]
    Invalid {
        /// The line.
        line: u64,
        /// What is wrong with it.
        error: InvalidStatusMessage,
        /// Messages that are confirmed.
        confirmed: u64,
    },
    /// The file could not be read to its end, or the caller stopped it.
    #[error("{reason}; {}, continue with --skip {last_line}", are_confirmed(*.confirmed))]
    Stopped {
        /// Why.
        reason: StopReason,
        /// The last line that was sent or held nothing to send.
        last_line: u64,
        /// Messages that are confirmed.
        confirmed: u64,
    },
    /// There are fewer lines than were to be skipped.
    #[error("--skip {skip} is beyond the end, which is line {end}")]
    BeyondTheEnd {
        /// Lines to skip.
        skip: u64,
        /// The last line.
        end: u64,
    },
}

/// Why no further lines were read.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    /// By the caller.
    #[error("interrupted")]
    Interrupted,
    /// The file could not be read.
    #[error("could not read: {0}")]
    Unreadable(#[source] io::Error),
    /// RabbitMQ refuses such a message.
    #[error("line {0} is longer than any message may be")]
    TooLong(u64),
}

fn are_confirmed(number: u64) -> String {
    match number {
        1 => "1 message is confirmed".to_owned(),
        number => format!("{number} messages are confirmed"),
    }
}
