use super::migrations::missing;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, query_scalar, sql};
use crate::storage::transaction::Tx;

/// Why the worker refuses to run on this database with this role; each says the fix.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The schema is older than the program.
    #[error(
        "the database is not migrated ({0} of this program's migrations are missing); run `snapshot-lifecycle migrate` with a role that owns the schema"
    )]
    NotMigrated(usize),
    /// The role cannot see or delete what it must.
    #[error("the database role cannot do the worker's job: {}; deploy/sql/worker-role.sql makes a role that can", .0.join("; "))]
    Role(Vec<String>),
    /// The table is one that the statements do not reach as a whole, or in which they could take a wrong row.
    #[error("the worker refuses the table public.snapshots: {}", .0.join("; "))]
    Table(Vec<String>),
    /// It could not be found out.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AccessError {
    /// The error and its causes in one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        match self {
            Self::Storage(error) => error.one_line(),
            Self::NotMigrated(_) | Self::Role(_) | Self::Table(_) => self.to_string(),
        }
    }
}

/// The answer to `row_level_security_and_table_shape.sql`.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::storage) struct Problems {
    role_problems: Vec<String>,
    table_problems: Vec<String>,
}

impl Problems {
    /// An error where there are any.
    pub(in crate::storage) fn refuse(self) -> Result<(), AccessError> {
        if !self.table_problems.is_empty() {
            Err(AccessError::Table(self.table_problems))
        } else if !self.role_problems.is_empty() {
            Err(AccessError::Role(self.role_problems))
        } else {
            Ok(())
        }
    }
}

const WHAT: &str = "check the role's privileges";

impl Database {
    /// Checks that messages can be worked on now: [`access_check`](Self::access_check), and that a delete passes. A standby
    /// that only reads, or a table locked as a whole, answers every question and takes no delete.
    ///
    /// # Errors
    /// If they cannot, with the fix.
    pub async fn access_check_with_delete(&self) -> Result<(), AccessError> {
        self.access_check().await?;
        self.can_delete(Limits::PING).await?;
        Ok(())
    }

    /// Checks that the schema exists, that the role sees and may delete every snapshot, and that the statements reach the whole table and
    /// find their columns.
    ///
    /// # Errors
    /// If something of that is not so, with the fix.
    pub async fn access_check(&self) -> Result<(), AccessError> {
        let missing = missing(self).await?;
        if !missing.is_empty() {
            return Err(AccessError::NotMigrated(missing.len()));
        }
        let mut tx = self.begin(Limits::SHORT, WHAT).await?;
        let mut role_problems = tx.fetch_all(query_scalar(sql!("access_privileges.sql"))).await?;
        let mut problems = problems(&mut tx).await?;
        role_problems.append(&mut problems.role_problems);
        problems.role_problems = role_problems;
        tx.commit(problems).await?.refuse()?;
        // Not before: the role may not read a column, or a view has none of that name.
        Ok(self.access_check_columns().await?)
    }

    /// Fails where a column was renamed, or has another type, so that deletes fail.
    async fn access_check_columns(&self) -> Result<(), StorageError> {
        let mut tx = self.begin(Limits::SHORT, "compare the columns of public.snapshots").await?;
        let _: bool = tx.fetch_one(query_scalar(sql!("access_columns.sql"))).await?;
        tx.commit(()).await
    }
}

/// Fails where a delete, or a search for what to delete, would miss rows without an error.
pub(in crate::storage) async fn require(tx: &mut Tx) -> Result<(), StorageError> {
    let problems = problems(tx).await?;
    problems.refuse().map_err(|error| StorageError::no_access(WHAT, error.to_string()))
}

async fn problems(tx: &mut Tx) -> Result<Problems, StorageError> {
    tx.fetch_one(query_as(sql!(
        "access_problems.sql",
        "../schema/row_level_security_and_table_shape.sql",
        "../schema/table_shape.sql"
    )))
    .await
}
