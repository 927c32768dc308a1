//! What makes `public.snapshots` a table that the statements reach as a whole, and no further than the rules say.

use sqlx::{Postgres, Transaction};

use super::{Database, Limits, StorageError};

/// A reason why the worker cannot be trusted with the table.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Misshape {
    /// What is so.
    pub says: String,
    /// What to do about it.
    pub fix: String,
    /// Whether it is no ordinary table at all.
    pub of_its_kind: bool,
}

impl Database {
    /// Everything that is wrong with the kind of table; nothing where there is none.
    pub async fn misshapes(&self) -> Result<Vec<Misshape>, StorageError> {
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let found = misshapes(&mut tx).await?;
            Self::commit(tx).await?;
            Ok(found)
        })
        .await
    }
}

const WHAT: &str = "look at the kind of table";

/// The statements say `FROM ONLY` and join on `id`: rows of a partition or a child would never be deleted, and where two rows have one
/// `id`, both would be.
pub(super) async fn misshapes(tx: &mut Transaction<'static, Postgres>) -> Result<Vec<Misshape>, StorageError> {
    sqlx::query_as(
        "WITH snapshots AS (SELECT oid, relkind::text AS kind FROM pg_catalog.pg_class WHERE oid = to_regclass('public.snapshots')) \
         SELECT 'it is partitioned' AS says, 'keep the snapshots in one table that is not partitioned' AS fix, true AS of_its_kind FROM snapshots WHERE kind = 'p' \
         UNION ALL \
         SELECT 'it is not a table', 'give the view or foreign table another name', true FROM snapshots WHERE kind NOT IN ('r', 'p') \
         UNION ALL \
         SELECT format('it is itself a child or partition of %s', i.inhparent::regclass), \
                format('as the owner: ALTER TABLE public.snapshots NO INHERIT %1$s, or ALTER TABLE %1$s DETACH PARTITION public.snapshots;', i.inhparent::regclass), false \
         FROM snapshots AS s JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = s.oid \
         UNION ALL \
         SELECT format('%s inherits from it, and rows there would never be deleted', i.inhrelid::regclass), \
                format('as the owner: ALTER TABLE %s NO INHERIT public.snapshots;', i.inhrelid::regclass), false \
         FROM snapshots AS s JOIN pg_catalog.pg_inherits AS i ON i.inhparent = s.oid WHERE s.kind = 'r' \
         UNION ALL \
         SELECT 'id by itself is not unique, so a delete may take rows of others with the same id', \
                'as the owner: CREATE UNIQUE INDEX CONCURRENTLY ON public.snapshots (id);', false \
         FROM snapshots AS s WHERE s.kind = 'r' AND NOT EXISTS ( \
             SELECT FROM pg_catalog.pg_index AS i \
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'id' \
             WHERE i.indrelid = s.oid AND i.indnkeyatts = 1 AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indislive \
               AND i.indpred IS NULL)",
    )
    .persistent(false)
    .fetch_all(&mut **tx)
    .await
    .map_err(StorageError::during(WHAT))
}
