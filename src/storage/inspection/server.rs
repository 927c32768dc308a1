use time::OffsetDateTime;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// What the server says of itself and of the role.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ServerFacts {
    /// As in `150018`.
    pub version_number: i32,
    /// As in `15.18 (Debian …)`.
    pub version: String,
    /// Our role.
    pub role: String,
    /// PostgreSQL 17's limit for a whole transaction, set for the role or the database.
    pub transaction_timeout: Option<String>,
    /// Why it takes no writes, if it does not: `standby` or `default` (`default_transaction_read_only`).
    pub read_only: Option<String>,
    /// Its clock.
    pub now: OffsetDateTime,
    /// Both settings that autovacuum needs.
    pub autovacuum: bool,
}

impl Database {
    /// Asks the server about itself, in one statement.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn server_facts(&self) -> Result<ServerFacts, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "ask the server about itself").await?;
        let facts = tx.fetch_one(query_as(sql!("server_facts.sql"))).await?;
        tx.commit(facts).await
    }
}
