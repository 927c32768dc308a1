use std::fmt;

use serde::{Serialize, Serializer};

use super::rule::PassName;
use crate::closed_set::closed_set;

closed_set! {
    /// What a worker does that deletes snapshots, and that an operator can pause for the whole fleet.
    pub enum Activity {
        /// TTL sweeps.
        Sweep = "sweep",
        /// Evictions above the cap.
        Evict = "evict",
        /// Consuming status messages, and the end of an event by hand.
        Consume = "consume",
    }
}

impl PassName {
    /// What is paused where the pass is.
    #[must_use]
    pub const fn activity(self) -> Activity {
        match self {
            Self::Ttl => Activity::Sweep,
            Self::Cap => Activity::Evict,
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Activity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why nothing is deleted: an operator has paused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is paused by an operator; `snapshot-lifecycle pause` shows by whom, `snapshot-lifecycle resume {0}` ends it"
)]
pub struct Paused(pub Activity);
