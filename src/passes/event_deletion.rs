use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::policy::{EventEnd, named_teams};
use crate::storage::{Database, EventCount, EventEndOutcome, StepsOutcome, StorageError, TypeCount};

/// The deletion of one event's snapshots by hand, by the same rule as a status message.
#[derive(Debug, Clone, Copy)]
pub struct EventDeletion {
    /// The end of the event.
    pub end: EventEnd,
}

/// What a deletion did, or would do.
#[derive(Debug, Serialize)]
pub struct EventDeletionReport {
    /// The event.
    pub event_id: Uuid,
    /// Whether this is a preview.
    pub dry_run: bool,
    /// Rows that the rule named before it began.
    pub would_delete: i64,
    /// Rows deleted.
    pub deleted: u64,
    /// Rows that a trigger or rule of the backend kept, without an error.
    pub kept: u64,
    /// The event's snapshots by type, as they were before.
    pub types: Vec<TypeCount>,
    /// Why not every row that the rule names is gone.
    #[serde(skip)]
    pub failure: Option<String>,
}

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum EventDeletionError {
    /// The event is another team's.
    #[error("the event has no snapshots of --team-id, but of {}; nothing was deleted", named_teams(.0))]
    TeamMismatch(Vec<Uuid>),
    /// A statement failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl EventDeletion {
    /// Counts the event's snapshots. Nothing is changed.
    ///
    /// # Errors
    /// When the event is another team's, or a statement fails.
    pub async fn preview(&self, database: &Database) -> Result<EventDeletionReport, EventDeletionError> {
        let EventCount { types, owners } = database.event_end_count(&self.end).await?;
        if let Some(owners) = owners {
            return Err(EventDeletionError::TeamMismatch(owners));
        }
        let would_delete = types.iter().filter(|count| !count.kept).map(|count| count.rows).sum();
        let event_id = self.end.event_id;
        Ok(EventDeletionReport { event_id, dry_run: true, would_delete, deleted: 0, kept: 0, types, failure: None })
    }

    /// Deletes them, in as many steps as it takes. Rows that stay are in the report.
    ///
    /// # Errors
    /// As for [`preview`](Self::preview).
    pub async fn run(&self, database: &Database) -> Result<EventDeletionReport, EventDeletionError> {
        let preview = self.preview(database).await?;
        let StepsOutcome { ended, error, failed, .. } = database.event_steps_run(&self.end).await?;
        let (deleted, kept) = match ended {
            EventEndOutcome::Deleted { rows, kept } => (rows, kept),
            EventEndOutcome::TeamMismatch(owners) => return Err(EventDeletionError::TeamMismatch(owners)),
        };
        let failure = match error {
            Some(error) => Some(format!("{failed}: {}", error.one_line())),
            None if kept > 0 => {
                Some(format!("{kept} found and not deleted; does a trigger or rule of the backend keep them?"))
            }
            None => None,
        };
        Ok(EventDeletionReport { dry_run: false, deleted, kept, failure, ..preview })
    }
}

/// The sentence under a table of the types.
impl fmt::Display for EventDeletionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { dry_run: true, would_delete, .. } => {
                write!(f, "would delete {would_delete}; nothing was changed, add --yes to do it")
            }
            Self { deleted, kept: 0, .. } => write!(f, "deleted {deleted}"),
            Self { deleted, kept, .. } => write!(f, "deleted {deleted}; a trigger or rule of the backend kept {kept}"),
        }
    }
}
