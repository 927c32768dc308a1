use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// The work that an index is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Finding the snapshots of an event.
    EventEnd,
    /// Finding what has expired.
    Sweep,
    /// Finding a team's newest.
    Cap,
    /// The backend's, and `snapshots list`.
    Lists,
}

/// An index that one of our statements is planned by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredIndex {
    /// What needs it.
    pub work: Work,
    /// The name that `migrate` gives it.
    pub name: &'static str,
    /// Its leading keys, as PostgreSQL writes them.
    pub keys: &'static str,
}

/// What `migrate` makes. An index of another name, or with more keys behind these, serves as well.
/// The unique index on `id` belongs to the shape of the table.
const REQUIRED: [RequiredIndex; 4] = [
    RequiredIndex { work: Work::EventEnd, name: "idx_snapshots_event", keys: "event_id" },
    RequiredIndex { work: Work::Sweep, name: "idx_snapshots_expires", keys: "expires_at" },
    RequiredIndex {
        work: Work::Cap,
        name: "idx_snapshots_team_newest",
        keys: "team_id, COALESCE(created_at, '-infinity'::timestamp with time zone) DESC, id DESC",
    },
    RequiredIndex { work: Work::Lists, name: "idx_snapshots_team_type", keys: "team_id, snapshot_type" },
];

impl RequiredIndex {
    /// Everything that the worker needs.
    pub const ALL: &'static [Self] = &REQUIRED;
}

/// An index of `public.snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Index {
    /// Quoted, with its schema.
    pub name: String,
    /// As `pg_get_indexdef` writes it.
    pub definition: String,
    /// Whether the planner uses it. A build that was killed leaves one that is kept up to date and never read.
    pub valid: bool,
    /// Whether it covers every row.
    pub whole: bool,
}

impl Index {
    /// Whether it can serve as the required one, were it valid.
    #[must_use]
    pub fn serves(&self, required: RequiredIndex) -> bool {
        let keys = self.definition.split_once(" USING btree (").map_or("", |(_, keys)| keys);
        // Of a single key both directions serve; of several the order is part of it.
        let ends: &[&str] = if required.keys.contains(' ') { &[")", ","] } else { &[")", ",", " DESC", " NULLS"] };
        self.whole && keys.strip_prefix(required.keys).is_some_and(|rest| ends.iter().any(|end| rest.starts_with(end)))
    }
}

impl Database {
    /// The indexes of `public.snapshots`.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn indexes(&self) -> Result<Vec<Index>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "read the indexes").await?;
        let indexes = tx.fetch_all(query_as(sql!("indexes.sql"))).await?;
        tx.commit(indexes).await
    }
}
