use crate::closed_set::closed_set;

closed_set! {
    /// The rules that delete snapshots; nothing else does.
    pub enum Rule {
        /// The event was confirmed or cancelled.
        EventEnd = "event_end",
        /// `expires_at` has passed.
        Ttl = "ttl",
        /// The team had more than its cap.
        Cap = "cap",
    }
}

closed_set! {
    /// The rules that a worker applies by passes over the whole table, at an interval and under a lease.
    pub enum PassName {
        /// The TTL sweep.
        Ttl = "ttl",
        /// The eviction above the cap.
        Cap = "cap",
    }
}

impl PassName {
    /// The rule by which the pass deletes.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::Ttl => Rule::Ttl,
            Self::Cap => Rule::Cap,
        }
    }
}
