use sqlx::{Postgres, Transaction};

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::transaction::Limits;

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

/// As SQL, two arrays of sentences: what is wrong with the role, and what is wrong with the table, such that a DELETE succeeds and takes
/// fewer rows than its rule names, or others.
///
/// A deleting transaction asks this in one of its own statements, which costs no round trip. `CASE WHEN false` reads nothing and
/// evaluates no policy, but naming the table locks it until the transaction ends: the answer holds for every later statement of the
/// transaction, because a change of the policies or of the table itself waits for that lock.
///
/// Under row-level security without a policy for the role a DELETE succeeds with 0 rows, which must never be taken
/// for "nothing to do". So a role that row-level security binds needs, for SELECT, DELETE and UPDATE (which is what
/// a row lock counts as), a permissive policy that is plainly `true`, and no restrictive one.
///
/// What is wrong with the table is told by [`table_shape`](super::table_shape).
macro_rules! silent_problems {
    () => {
        concat!(
            "ARRAY( \
             SELECT pg_catalog.format('row-level security hides rows from its %s: it has neither BYPASSRLS nor a policy FOR %s USING (true)', c.name, c.name) \
             FROM (VALUES ('SELECT', 'r'), ('DELETE', 'd'), ('UPDATE', 'w')) AS c (name, command) \
             WHERE pg_catalog.row_security_active('public.snapshots') AND NOT EXISTS ( \
                 SELECT FROM pg_catalog.pg_policy AS p \
                 WHERE p.polrelid = 'public.snapshots'::pg_catalog.regclass::pg_catalog.oid AND p.polpermissive AND p.polcmd::pg_catalog.text IN (c.command, '*') \
                   AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) = 'true' \
                   AND EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS r (oid) WHERE r.oid = '0' OR pg_catalog.pg_has_role(r.oid, 'USAGE'))) \
             UNION ALL \
             SELECT pg_catalog.format('the restrictive row-level security policy %I hides rows from it', p.polname) FROM pg_catalog.pg_policy AS p \
             WHERE pg_catalog.row_security_active('public.snapshots') AND p.polrelid = 'public.snapshots'::pg_catalog.regclass::pg_catalog.oid \
               AND NOT p.polpermissive AND p.polcmd <> 'a' AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) IS DISTINCT FROM 'true' \
               AND EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS r (oid) WHERE r.oid = '0' OR pg_catalog.pg_has_role(r.oid, 'USAGE')) \
         ) AS role_problems, ARRAY( \
             SELECT pg_catalog.concat(t.says, '; ', t.fix) FROM (",
            $crate::storage::schema::table_shape::table_shape!(),
            ") AS t WHERE CASE WHEN false THEN EXISTS (SELECT FROM ONLY public.snapshots) ELSE true END) AS table_problems"
        )
    };
}
pub(in crate::storage) use silent_problems;

/// The answer to `silent_problems!`.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::storage) struct Problems {
    role_problems: Vec<String>,
    table_problems: Vec<String>,
}

impl Problems {
    fn is_empty(&self) -> bool {
        self.role_problems.is_empty() && self.table_problems.is_empty()
    }

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
    /// Checks that messages can be worked on now: [`check_access`](Self::check_access), and that a delete passes. A standby
    /// that only reads, or a table locked as a whole, answers every question and takes no delete.
    pub async fn check_ready(&self) -> Result<(), AccessError> {
        self.check_access().await?;
        self.trial_delete(Limits::PING).await?;
        Ok(())
    }

    /// Checks that the schema exists, that the role sees and may delete every snapshot, and that the statements reach the whole table and
    /// find their columns.
    pub async fn check_access(&self) -> Result<(), AccessError> {
        let missing = self.missing_migrations().await?;
        if !missing.is_empty() {
            return Err(AccessError::NotMigrated(missing.len()));
        }
        let problems = self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let mut role_problems = lacking(&mut tx).await?;
            let mut problems = problems(&mut tx).await?;
            role_problems.append(&mut problems.role_problems);
            problems.role_problems = role_problems;
            // Said before a column is asked for that the role may not read, or that a view has not.
            let columns = if problems.is_empty() { columns(&mut tx).await } else { Ok(()) };
            Self::commit(tx).await?;
            columns.map(|()| problems)
        });
        problems.await?.refuse()
    }
}

/// Fails where a delete, or a look for what to delete, would miss rows without an error.
pub(in crate::storage) async fn require(tx: &mut Transaction<'static, Postgres>) -> Result<(), StorageError> {
    problems(tx).await?.refuse().map_err(|error| StorageError::no_access(WHAT, &error))
}

/// Privileges that the role lacks.
async fn lacking(tx: &mut Transaction<'static, Postgres>) -> Result<Vec<String>, StorageError> {
    sqlx::query_scalar(
        "WITH need (relation, privilege) AS (VALUES \
             ('public.snapshots', 'SELECT'), ('public.snapshots', 'DELETE'), \
             ('snapshot_lifecycle.retention', 'SELECT'), ('snapshot_lifecycle.lease', 'SELECT'), \
             ('snapshot_lifecycle.lease', 'INSERT'), ('snapshot_lifecycle.lease', 'UPDATE'), \
             ('snapshot_lifecycle.applied_ahead', 'SELECT'), ('snapshot_lifecycle.applied_ahead', 'INSERT'), \
             ('snapshot_lifecycle.applied_ahead', 'DELETE'), \
             ('snapshot_lifecycle.outbox', 'SELECT'), ('snapshot_lifecycle.outbox', 'DELETE'), \
             ('snapshot_lifecycle.delete_budget', 'SELECT'), ('snapshot_lifecycle.delete_budget', 'UPDATE')) \
         SELECT format('it lacks %s on %s', privilege, relation) FROM need \
         WHERE NOT has_table_privilege(relation, privilege) \
         UNION ALL \
         SELECT 'it lacks UPDATE on a column of public.snapshots, without which it may not lock rows' \
         WHERE NOT has_any_column_privilege('public.snapshots', 'UPDATE')",
    )
    .persistent(false)
    .fetch_all(&mut **tx)
    .await
    .map_err(StorageError::during(WHAT))
}

/// Fails where a column was renamed, or has another type, so that deletes fail.
async fn columns(tx: &mut Transaction<'static, Postgres>) -> Result<(), StorageError> {
    let asked = sqlx::query_scalar(include_str!("access_columns.sql")).persistent(false).fetch_one(&mut **tx).await;
    let _: bool = asked.map_err(StorageError::during("compare the columns of public.snapshots"))?;
    Ok(())
}

async fn problems(tx: &mut Transaction<'static, Postgres>) -> Result<Problems, StorageError> {
    sqlx::query_as(concat!("SELECT ", silent_problems!()))
        .persistent(false)
        .fetch_one(&mut **tx)
        .await
        .map_err(StorageError::during(WHAT))
}
