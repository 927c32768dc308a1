//! The work on dead letters: browse, count, replay, remove and save them.
//!
//! ```text
//! in the queue -> held, unacknowledged -> published and confirmed -> removed     replay
//!                          |                                      \-> removed    purge
//!                          \-> back in its place                                 whatever is not removed, at the end
//! ```
//!
//! A piece of work holds what it reads, in order, until it ends; [`crate::broker::DeadLetterQueue`] says how what is left returns to its
//! place. Nothing is removed before its copy is confirmed, so a stop at any point loses no dead letter, and may replay one twice.
//!
//! A preview ends with a [`Selection`](selection::Selection), which stands for exactly the dead letters that it counted. The work that is
//! given one reads them all again first and refuses to begin where they are others.

mod browse;
mod edited_replay;
mod error;
mod export;
mod filter;
mod pace;
mod publish_and_remove;
mod purge;
mod record;
mod replay;
mod replay_report;
mod selection;
mod session;
mod summary;

pub use browse::{Browse, find_one};
pub use edited_replay::EditedReplay;
pub use error::DeadLettersError;
pub use export::{Export, ExportReport, ExportTarget};
pub use filter::{Filter, reasons};
pub use purge::Purge;
pub use record::record;
pub use replay::Replay;
pub use session::{DeadLetters, Progress};
pub use summary::{ReasonCount, count};
