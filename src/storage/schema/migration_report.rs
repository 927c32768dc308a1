use std::fmt;

use serde::Serialize;

use super::migrate::AppliedMigration;

/// What `migrate` did.
#[derive(Debug, Default, Serialize)]
pub struct MigrationReport {
    /// Nothing where all was applied before.
    pub applied: Vec<AppliedMigration>,
    /// Snapshots that never expire: they were made before a missing `expires_at` was filled in. `None` where nobody counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_without_expires_at: Option<i64>,
}

/// The sentences under a table of the migrations.
impl fmt::Display for MigrationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.applied.len() {
            0 => f.write_str("the database is up to date")?,
            1 => f.write_str("1 migration applied")?,
            more => write!(f, "{more} migrations applied")?,
        }
        let Some(rows @ 1..) = self.rows_without_expires_at else { return Ok(()) };
        write!(f, "\nsnapshots without expires_at, which never expire: {rows}; to give them one: ")?;
        f.write_str(
            "snapshot-lifecycle retention set '*' --ttl 7d --restamp, and the same for each type with a TTL of its own",
        )
    }
}
