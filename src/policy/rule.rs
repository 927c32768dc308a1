/// The three rules that delete snapshots; nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The event was confirmed or cancelled.
    EventEnd,
    /// `expires_at` has passed.
    Ttl,
    /// The team had more than its cap.
    Cap,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 3] = [Self::EventEnd, Self::Ttl, Self::Cap];

    /// The name in metrics and in `snapshot_lifecycle.rule`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventEnd => "event_end",
            Self::Ttl => "ttl",
            Self::Cap => "cap",
        }
    }
}
