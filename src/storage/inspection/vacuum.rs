use std::time::Duration;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::interval::Interval;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// How the space of deleted rows is made usable again.
#[derive(Debug, Clone, PartialEq)]
pub struct VacuumState {
    /// Whether autovacuum may work on the table, by its own storage parameter.
    pub autovacuum: bool,
    /// Rows that are dead and not yet cleared away, as the statistics have it.
    pub dead: i64,
    /// The number of dead rows from which on autovacuum becomes active.
    pub trigger: i64,
    /// How long ago it was last vacuumed, by hand or by autovacuum.
    pub vacuumed_ago: Option<Duration>,
}

impl Database {
    /// How `public.snapshots` is vacuumed; `None` where there is no such table.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn vacuum_state(&self) -> Result<Option<VacuumState>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "read the state of autovacuum").await?;
        let row: Option<(bool, i64, i64, Option<Interval>)> =
            tx.fetch_optional(query_as(sql!("vacuum_state.sql"))).await?;
        let state = row.map(|(autovacuum, dead, trigger, ago)| VacuumState {
            autovacuum,
            dead,
            trigger,
            vacuumed_ago: ago.map(Duration::from),
        });
        tx.commit(state).await
    }
}
