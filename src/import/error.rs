use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::storage::StorageError;

/// Why not a single entry was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("could not read {}", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error(
        r#"{} is not a local snapshot store, which is JSON of the form {{"snapshots": {{OLD_ID: {{"type": …, "created_at": …, "data": …}}}}}}; see --help"#,
        file.display()
    )]
    NotAStore {
        /// The file.
        file: PathBuf,
        /// Where it is not that, if it is JSON of some kind at all.
        source: Option<serde_json::Error>,
    },
    /// The team does not exist.
    #[error("there is no team {0} in public.teams")]
    NoTeam(Uuid),
    /// Stopped before the first entry.
    #[error("interrupted; nothing was imported")]
    Interrupted,
    /// The database cannot be asked.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ImportError {
    pub(super) fn not_a_store(file: &Path, source: Option<serde_json::Error>) -> Self {
        Self::NotAStore { file: file.to_owned(), source }
    }
}
