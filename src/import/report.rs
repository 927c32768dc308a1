use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::terminal::counted;

/// The outcome of an import, or of its preview.
#[derive(Debug, Serialize)]
pub struct ImportReport {
    /// Whether this is a preview.
    pub dry_run: bool,
    /// Snapshots that an import would insert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_import: Option<usize>,
    /// Snapshots inserted.
    pub imported: usize,
    /// Snapshots whose id exists.
    pub already_there: usize,
    /// Snapshots that have expired, which are not imported.
    pub expired: usize,
    /// Entries that no row can be made of, and rows that the database refuses.
    pub left_out: usize,
    /// Why not every entry was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Each entry of the store.
    pub snapshots: Vec<EntryOutcome>,
}

/// The outcome of one entry.
#[derive(Debug, Serialize)]
pub struct EntryOutcome {
    /// As the store names it.
    pub old_id: String,
    /// As the table names it.
    pub id: Uuid,
    /// What was done, or would be.
    pub outcome: Outcome,
    /// Why it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an import does with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Inserted.
    Imported,
    /// An import would insert it.
    WouldImport,
    /// Its id exists.
    AlreadyThere,
    /// It has expired.
    Expired,
    /// It cannot be stored.
    LeftOut,
    /// The import ended before it.
    NotReached,
}

impl Outcome {
    /// For a table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::WouldImport => "to import",
            Self::AlreadyThere => "exists already",
            Self::Expired => "expired",
            Self::LeftOut => "left out",
            Self::NotReached => "not reached",
        }
    }
}

impl ImportReport {
    pub(super) fn new(dry_run: bool, snapshots: Vec<EntryOutcome>, stopped: Option<String>) -> Self {
        let count = |outcome| snapshots.iter().filter(|entry| entry.outcome == outcome).count();
        Self {
            dry_run,
            would_import: dry_run.then(|| count(Outcome::WouldImport)),
            imported: count(Outcome::Imported),
            already_there: count(Outcome::AlreadyThere),
            expired: count(Outcome::Expired),
            left_out: count(Outcome::LeftOut),
            stopped,
            snapshots,
        }
    }

    /// Why the import is not complete. Snapshots that have expired are not missed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        match (&self.stopped, self.left_out) {
            (Some(why), _) => Some(why.clone()),
            (None, 0) => None,
            (None, 1) => Some("1 snapshot was left out; the answer says which and why".to_owned()),
            (None, more) => {
                Some(format!("{} were left out; the answer says which and why", counted(more as u64, "snapshot")))
            }
        }
    }
}

/// The sentence under a table of the entries.
impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, number) = self.would_import.map_or(("imported", self.imported), |number| ("would import", number));
        write!(
            f,
            "{verb} {number}, exist already {}, expired {}, left out {}",
            self.already_there, self.expired, self.left_out
        )?;
        match (&self.stopped, self.dry_run) {
            (None, true) => f.write_str("; nothing was changed (--dry-run)"),
            _ => Ok(()),
        }
    }
}
