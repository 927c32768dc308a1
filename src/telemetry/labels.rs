//! The labels of metrics: every value is a variant of a closed set.

use super::dependency::Dependency;
use crate::closed_set::closed_set;
use crate::message::Reason;
use crate::policy::{Activity, PassName, Rule};

closed_set! {
    /// What became of a message.
    pub enum MessageOutcome {
        /// Its snapshots are deleted, or there were none.
        Applied = "applied",
        /// Its status ends no event.
        Ignored = "ignored",
        /// This message alone failed and waits for another attempt.
        Retried = "retried",
        /// It is in the dead-letter queue.
        DeadLettered = "dead_lettered",
    }
}

closed_set! {
    /// What became of an attempt to publish a record of the outbox.
    pub enum OutboxOutcome {
        /// A queue has it.
        Published = "published",
        /// It waits for another attempt.
        Failed = "failed",
    }
}

closed_set! {
    /// What one replica at a time does.
    pub enum Lease {
        /// A TTL sweep.
        Ttl = "ttl",
        /// An eviction pass.
        Cap = "cap",
        /// Publishing the outbox.
        Outbox = "outbox",
    }
}

impl From<PassName> for Lease {
    fn from(pass: PassName) -> Self {
        match pass {
            PassName::Ttl => Self::Ttl,
            PassName::Cap => Self::Cap,
        }
    }
}

/// The label of a metric; `()` where it has none.
pub trait Label: Copy {
    /// The label's name.
    const NAME: Option<&'static str>;

    /// Every value.
    fn all() -> impl Iterator<Item = Self>;

    /// The text of this value.
    fn text(self) -> Option<&'static str>;
}

impl Label for () {
    const NAME: Option<&'static str> = None;

    fn all() -> impl Iterator<Item = Self> {
        std::iter::once(())
    }

    fn text(self) -> Option<&'static str> {
        None
    }
}

/// The version of the program.
#[derive(Clone, Copy)]
pub struct Version;

impl Label for Version {
    const NAME: Option<&'static str> = Some("version");

    fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self)
    }

    fn text(self) -> Option<&'static str> {
        Some(env!("CARGO_PKG_VERSION"))
    }
}

macro_rules! labels {
    ($($set:ty = $name:literal;)+) => {
        $(impl Label for $set {
            const NAME: Option<&'static str> = Some($name);

            fn all() -> impl Iterator<Item = Self> {
                Self::ALL.into_iter()
            }

            fn text(self) -> Option<&'static str> {
                Some(self.as_str())
            }
        })+
    };
}

labels! {
    MessageOutcome = "outcome";
    OutboxOutcome = "outcome";
    Reason = "reason";
    Rule = "rule";
    PassName = "rule";
    Dependency = "dependency";
    Lease = "lease";
    Activity = "what";
}
