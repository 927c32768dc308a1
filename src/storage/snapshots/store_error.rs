use crate::storage::error::StorageError;

/// Why a call of [`SnapshotStore`](super::store::SnapshotStore) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The backend's tables have no such row; by the foreign keys of `public.snapshots`.
    #[error("the team or the event does not exist")]
    UnknownTeamOrEvent(#[source] StorageError),
    /// Privileges or row-level security.
    #[error("the database role may not do this")]
    NotPermitted(#[source] StorageError),
    /// A value that the database cannot hold: the character NUL in a text or in JSON, an instant outside of the years 1 to 9999, a text
    /// that is too long for its column.
    #[error("the database cannot hold a value that was passed")]
    InvalidInput(#[source] StorageError),
    /// Anything else.
    #[error(transparent)]
    Storage(StorageError),
}

impl StoreError {
    /// Whether the same call may succeed later: the database was away or busy, or took too long. `false` also after
    /// [`SnapshotStore::close`](super::store::SnapshotStore::close).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_transient(),
            Self::UnknownTeamOrEvent(_) | Self::NotPermitted(_) | Self::InvalidInput(_) => false,
        }
    }

    /// The error and its causes in one line, for a log. Never holds the URL or a password; it may quote a value that the database refused.
    #[must_use]
    pub fn one_line(&self) -> String {
        match self {
            Self::Storage(error) => error.one_line(),
            Self::UnknownTeamOrEvent(error) | Self::NotPermitted(error) | Self::InvalidInput(error) => {
                format!("{self}: {}", error.one_line())
            }
        }
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error.code().as_deref() {
            _ if error.is_bad_input() => Self::InvalidInput(error),
            Some("23503") => Self::UnknownTeamOrEvent(error),
            Some("42501") => Self::NotPermitted(error),
            _ => Self::Storage(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_has_every_cause_once() {
        let invalid = StoreError::from(StorageError::out_of_range("create a snapshot", "expires_at"));
        let line = "the database cannot hold a value that was passed: could not create a snapshot: expires_at is not within the years 1 to 9999 (UTC)";
        assert_eq!(invalid.one_line(), line);
        let busy = StoreError::from(StorageError::busy("read a snapshot", 8));
        assert_eq!(busy.one_line(), "could not read a snapshot: all 8 connections of the pool are in use");
    }
}
