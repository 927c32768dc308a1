use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::migrate::Migration;
use sqlx::postgres::PgConnection;

use super::migrations::record_alone;
use crate::storage::connection::connect::{self, ConnectFailure};
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

const WHAT: &str = "build the index";
/// Between two questions whether another session has built it.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// An index that cannot be used.
#[derive(sqlx::FromRow)]
struct InvalidIndex {
    /// Quoted, with its schema.
    name: String,
    is_under_construction: bool,
}

/// Applies a single statement that refuses a transaction: `CREATE INDEX CONCURRENTLY`. Killed half-way it leaves an invalid
/// index behind that `IF NOT EXISTS` would take for a good one, so an invalid one is dropped first; one that somebody is building now
/// is waited for.
#[expect(clippy::disallowed_methods, reason = "CREATE INDEX CONCURRENTLY cannot run in a transaction")]
pub(super) async fn build_index(database: &Database, migration: &Migration) -> Result<(), StorageError> {
    let failed = || StorageError::during(WHAT);
    let mut said = false;
    let invalid = loop {
        let invalid = invalid_indexes(database, migration).await?;
        if !invalid.iter().any(|index| index.is_under_construction) {
            break invalid;
        }
        if !said {
            tracing::info!(version = migration.version, "another session is building the index; waiting for it");
            said = true;
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    };
    let mut connection = unlimited_connection(database).await?;
    for InvalidIndex { name, .. } in invalid {
        // The name is quoted by the server's own format('%I').
        let drop = AssertSqlSafe(format!("DROP INDEX CONCURRENTLY IF EXISTS {name}"));
        sqlx::raw_sql(drop).execute(&mut connection).await.map_err(failed())?;
    }
    sqlx::raw_sql(migration.sql.clone()).execute(&mut connection).await.map_err(failed())?;
    sqlx::Connection::close(connection).await.ok();
    record_alone(database, migration).await
}

/// Indexes of the file's names that are not valid, and whether somebody is building them.
async fn invalid_indexes(database: &Database, migration: &Migration) -> Result<Vec<InvalidIndex>, StorageError> {
    let mut tx = database.begin(Limits::SHORT, "find an index that is not valid").await?;
    let invalid = tx.fetch_all(query_as(sql!("invalid_indexes.sql")).bind(migration.sql.as_str())).await?;
    tx.commit(invalid).await
}

/// A connection on which a statement may take hours, whatever timeout the role has. That is asked for as the connection is made,
/// because nothing can be set for a statement that refuses a transaction where a pooler stands between; a pooler that does not
/// know the request refuses it, and then the role's timeout holds.
async fn unlimited_connection(database: &Database) -> Result<PgConnection, StorageError> {
    let unlimited = database.options().clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
    let connected = match connect::connect(&unlimited).await {
        Err(ConnectFailure::Refused { .. }) => connect::connect(database.options()).await,
        other => other,
    };
    connected
        .map(|(connection, _)| connection)
        .map_err(|failure| StorageError::unconnected(WHAT, database.host(), failure))
}
