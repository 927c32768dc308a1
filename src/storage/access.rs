use super::{Database, Limits, StorageError};

/// Why the worker refuses to run on this database with this role; each says the mend.
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
    /// It could not be found out.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Database {
    /// Checks that messages can be worked on now: [`check_access`](Self::check_access), and that a delete passes. A standby
    /// that only reads, or a table locked as a whole, answers every question and takes no delete.
    pub async fn check_ready(&self) -> Result<(), AccessError> {
        self.check_access().await?;
        self.try_delete_nothing(Limits::PING).await?;
        Ok(())
    }

    /// Checks that the schema is there and that the role sees and may delete every snapshot.
    ///
    /// Under row-level security without a policy for the role a DELETE succeeds with 0 rows, which must never be taken
    /// for "nothing to do". So a role that row-level security binds needs, for SELECT, DELETE and UPDATE (which is what
    /// a row lock counts as), a permissive policy that is plainly `true`, and no restrictive one.
    pub async fn check_access(&self) -> Result<(), AccessError> {
        let missing = self.missing_migrations().await?;
        if !missing.is_empty() {
            return Err(AccessError::NotMigrated(missing.len()));
        }
        let problems: Vec<String> = self.within(Limits::SHORT, "check the role's privileges", async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let problems: Vec<String> = sqlx::query_scalar(
                "WITH need (relation, privilege) AS (VALUES \
                     ('public.snapshots', 'SELECT'), ('public.snapshots', 'DELETE'), \
                     ('snapshot_lifecycle.retention', 'SELECT'), ('snapshot_lifecycle.lease', 'SELECT'), \
                     ('snapshot_lifecycle.lease', 'INSERT'), ('snapshot_lifecycle.lease', 'UPDATE'), \
                     ('snapshot_lifecycle.outbox', 'SELECT'), ('snapshot_lifecycle.outbox', 'DELETE'), \
                     ('snapshot_lifecycle.delete_budget', 'SELECT'), ('snapshot_lifecycle.delete_budget', 'UPDATE')) \
                 SELECT format('it lacks %s on %s', privilege, relation) FROM need \
                 WHERE NOT has_table_privilege(relation, privilege) \
                 UNION ALL \
                 SELECT 'it lacks UPDATE on a column of public.snapshots, without which it may not lock rows' \
                 WHERE NOT has_any_column_privilege('public.snapshots', 'UPDATE') \
                 UNION ALL \
                 SELECT format('row-level security hides rows from its %s: it has neither BYPASSRLS nor a policy FOR %s USING (true)', c.name, c.name) \
                 FROM (VALUES ('SELECT', 'r'), ('DELETE', 'd'), ('UPDATE', 'w')) AS c (name, command) \
                 WHERE row_security_active('public.snapshots') AND NOT EXISTS ( \
                     SELECT FROM pg_catalog.pg_policy AS p \
                     WHERE p.polrelid = 'public.snapshots'::regclass AND p.polpermissive AND p.polcmd::text IN (c.command, '*') \
                       AND pg_get_expr(p.polqual, p.polrelid) = 'true' \
                       AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid) WHERE r.oid = 0 OR pg_has_role(r.oid, 'USAGE'))) \
                 UNION ALL \
                 SELECT format('the restrictive row-level security policy %I hides rows from it', p.polname) FROM pg_catalog.pg_policy AS p \
                 WHERE row_security_active('public.snapshots') AND p.polrelid = 'public.snapshots'::regclass AND NOT p.polpermissive AND p.polcmd <> 'a' \
                   AND pg_get_expr(p.polqual, p.polrelid) IS DISTINCT FROM 'true' \
                   AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid) WHERE r.oid = 0 OR pg_has_role(r.oid, 'USAGE'))",
            )
            .persistent(false)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during("check the role's privileges"))?;
            Self::commit(tx).await?;
            Ok(problems)
        }).await?;
        if problems.is_empty() { Ok(()) } else { Err(AccessError::Role(problems)) }
    }
}
