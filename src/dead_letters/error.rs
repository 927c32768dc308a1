use std::io;
use std::path::PathBuf;

use crate::broker::BrokerError;
use crate::message::Reject;

/// Why work on dead letters ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// The caller stopped it.
    #[error("interrupted; nothing was changed")]
    Interrupted,
    /// The queue cannot be used.
    #[error("{}", .0.one_line())]
    Broker(BrokerError),
    /// The one dead letter that was asked for does not exist.
    #[error("no dead letter matches; `dlq list` shows those in the queue")]
    NoMatch,
    /// There are several where one was asked for.
    #[error("{0} dead letters match; choose one by --message-id or --position")]
    SeveralMatch(u32),
    /// A text that no preview has shown.
    #[error("{0} is not a selection; copy the one that the preview shows")]
    InvalidSelection(String),
    /// The queue holds other dead letters than at the preview.
    #[error("these are not the dead letters of that preview any more; nothing was changed, run it again without --yes")]
    OtherSelection,
    /// The dead letter was replayed as often as allowed.
    #[error("this dead letter was replayed {0} times; --max-replays allows more")]
    ReplayedTooOften(u32),
    /// The new body would fail like the old one.
    #[error("{} would be dead-lettered again: {}: {}", file.display(), reject.reason, reject.error)]
    InvalidBody {
        /// The file with the new body.
        file: PathBuf,
        /// What is wrong with it.
        reject: Reject,
    },
    /// Nothing was replayed, for this reason.
    #[error("{0}")]
    NotReplayed(String),
    /// A file cannot be read or written.
    #[error("could not {action} {}", file.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file exists.
    #[error("{} exists already; choose another name", .0.display())]
    Exists(PathBuf),
    /// Another export is under way.
    #[error("another export writes {}; choose another name", .0.display())]
    Busy(PathBuf),
    /// The reader of the answer cannot be written to.
    #[error("could not write the answer")]
    Output(#[source] io::Error),
}

impl From<BrokerError> for DeadLettersError {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}
