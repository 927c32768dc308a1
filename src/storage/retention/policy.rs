use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::policy::RetentionPolicy;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::schema::access::{AccessError, Problems, silent_problems};
use crate::storage::transaction::Limits;

/// The policy as it stands in this transaction: read with each batch, so a change holds from the next one on.
pub(in crate::storage) async fn load(tx: &mut Transaction<'static, Postgres>) -> Result<RetentionPolicy, StorageError> {
    let rows: Vec<(String, bool)> =
        sqlx::query_as("SELECT snapshot_type, keep_after_event FROM snapshot_lifecycle.retention")
            .persistent(false)
            .fetch_all(&mut **tx)
            .await
            .map_err(StorageError::during("read the retention policy"))?;
    Ok(policy(rows))
}

/// What a delete of the worker's goes by, as it stands in its transaction.
pub(in crate::storage) struct Terms {
    /// Which types outlive their event.
    pub(in crate::storage) policy: RetentionPolicy,
    /// A trigger or rule of the backend may keep rows without an error.
    pub(in crate::storage) may_keep: bool,
    /// Row-level security binds the role, by policies that are plainly `true`.
    bound: bool,
    /// When the transaction began.
    pub(in crate::storage) now: OffsetDateTime,
    /// One of the events was ended by a message that was ahead of its time, see `rules::applied_ahead`.
    pub(in crate::storage) applied_ahead: bool,
}

impl Terms {
    /// Called with what the deleting statement itself says. A table's policies cannot change between the two; a role's attribute
    /// BYPASSRLS can.
    pub(in crate::storage) fn check_still_seen(&self, bound_now: bool) -> Result<(), StorageError> {
        if bound_now && !self.bound {
            let problem = "row-level security has just begun to bind it".to_owned();
            return Err(StorageError::no_access("delete snapshots", &AccessError::Role(vec![problem])));
        }
        Ok(())
    }
}

/// The policy, and in the same statement whether the delete that follows in this transaction will reach every row (see
/// [`silent_problems`]). A privilege revoked in between is no danger: without it the delete fails.
pub(in crate::storage) async fn load_checked(
    tx: &mut Transaction<'static, Postgres>,
    event_ids: &[Uuid],
) -> Result<Terms, StorageError> {
    const WHAT: &str = "check the role's privileges and read the retention policy";
    let row: TermsRow = sqlx::query_as(concat!(
        "SELECT ARRAY(SELECT snapshot_type FROM snapshot_lifecycle.retention ORDER BY snapshot_type) AS types, \
         ARRAY(SELECT keep_after_event FROM snapshot_lifecycle.retention ORDER BY snapshot_type) AS keep, \
         EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = 'public.snapshots'::pg_catalog.regclass::pg_catalog.oid \
                 AND tgenabled <> 'D' AND NOT tgisinternal AND tgtype & 11::int2 = 11::int2) /* BEFORE DELETE FOR EACH ROW */ \
         OR EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_class = 'public.snapshots'::pg_catalog.regclass::pg_catalog.oid AND ev_type = '4') AS may_keep, \
         pg_catalog.row_security_active('public.snapshots') AS bound, pg_catalog.now() AS now, \
         EXISTS (SELECT FROM snapshot_lifecycle.applied_ahead WHERE event_id = ANY ($1)) AS applied_ahead, ",
        silent_problems!(),
    ))
    .persistent(false)
    .bind(event_ids)
    .fetch_one(&mut **tx)
    .await
    .map_err(StorageError::during(WHAT))?;
    row.problems.refuse().map_err(|error| StorageError::no_access(WHAT, &error))?;
    Ok(Terms {
        policy: policy(row.types.into_iter().zip(row.keep)),
        may_keep: row.may_keep,
        bound: row.bound,
        now: row.now,
        applied_ahead: row.applied_ahead,
    })
}

#[derive(sqlx::FromRow)]
struct TermsRow {
    types: Vec<String>,
    keep: Vec<bool>,
    may_keep: bool,
    bound: bool,
    now: OffsetDateTime,
    applied_ahead: bool,
    #[sqlx(flatten)]
    problems: Problems,
}

fn policy(types: impl IntoIterator<Item = (String, bool)>) -> RetentionPolicy {
    let (all, types): (Vec<_>, Vec<_>) = types.into_iter().partition(|(name, _)| name == "*");
    RetentionPolicy::new(all.iter().any(|(_, keep)| *keep), types)
}

/// A row of the retention policy, with the snapshots that it speaks for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TypeRetention {
    /// The type; `*` speaks for every type without a row of its own.
    pub snapshot_type: String,
    /// Seconds from `created_at` to `expires_at`, where none is given.
    pub ttl_seconds: i64,
    /// Whether such snapshots outlive their event.
    pub keep_after_event: bool,
    /// Snapshots that are there now.
    pub rows: i64,
    /// Of those, with an event.
    pub rows_with_event: i64,
}

/// What a restamp does to the rows of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Restamp {
    /// Rows that would expire earlier than now noted.
    pub earlier: i64,
    /// Rows that would expire later.
    pub later: i64,
    /// Rows that have no `expires_at`, so would never expire, and would be given one.
    pub without_expires_at: i64,
    /// Of all these, those that would be expired at once, so that the next sweep takes them.
    pub expired_at_once: i64,
    /// Rows without `created_at`, which stay as they are.
    pub without_created_at: i64,
}

/// Rows a transaction.
const ROWS_A_BATCH: i64 = 2_000;
/// As SQL: the rows that the type `$1` speaks for.
macro_rules! of_type {
    () => {
        "CASE WHEN $1 = '*' THEN NOT EXISTS (SELECT FROM snapshot_lifecycle.retention AS r WHERE r.snapshot_type = s.snapshot_type::text) \
         ELSE s.snapshot_type::text = $1 END"
    };
}
/// As SQL: `$2` seconds; whole days as days, as the policy's first rows have them.
macro_rules! ttl {
    () => {
        "make_interval(days => ($2::bigint / 86400)::int, secs => ($2::bigint % 86400)::float8)"
    };
}
/// As SQL: a row of the type `$1` whose `expires_at` is not what `$2` seconds make it, or is absent.
macro_rules! stale {
    () => {
        concat!(
            "s.created_at IS NOT NULL AND s.created_at + ",
            ttl!(),
            " IS DISTINCT FROM s.expires_at AND ",
            of_type!()
        )
    };
}

impl Database {
    /// The whole policy, `*` last.
    pub async fn retention(&self) -> Result<Vec<TypeRetention>, StorageError> {
        const WHAT: &str = "read the retention policy";
        self.within(Limits::LONG, WHAT, async {
            let mut tx = self.begin_within(Limits::LONG, None).await?;
            let rows: Vec<(String, i64, bool, i64, i64)> = sqlx::query_as(
                "WITH counted AS ( \
                     SELECT COALESCE(r.snapshot_type, '*') AS snapshot_type, sum(s.n)::bigint AS n, sum(s.with_event)::bigint AS with_event \
                     FROM (SELECT snapshot_type, count(*) AS n, count(event_id) AS with_event FROM ONLY public.snapshots GROUP BY snapshot_type) AS s \
                     LEFT JOIN snapshot_lifecycle.retention AS r ON r.snapshot_type = s.snapshot_type AND r.snapshot_type <> '*' GROUP BY 1) \
                 SELECT r.snapshot_type, extract(epoch FROM r.ttl)::bigint, r.keep_after_event, COALESCE(c.n, 0), COALESCE(c.with_event, 0) \
                 FROM snapshot_lifecycle.retention AS r LEFT JOIN counted AS c USING (snapshot_type) ORDER BY r.snapshot_type = '*', r.snapshot_type",
            )
            .persistent(false)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            let row = |(snapshot_type, ttl_seconds, keep_after_event, rows, rows_with_event)| TypeRetention {
                snapshot_type,
                ttl_seconds,
                keep_after_event,
                rows,
                rows_with_event,
            };
            Ok(rows.into_iter().map(row).collect())
        })
        .await
    }

    /// The snapshots of a type, and of those the ones with an event.
    pub async fn count_of_type(&self, snapshot_type: &str) -> Result<(i64, i64), StorageError> {
        const WHAT: &str = "count snapshots of a type";
        self.within(Limits::LONG, WHAT, async {
            let mut tx = self.begin_within(Limits::LONG, None).await?;
            let counts = sqlx::query_as(concat!(
                "SELECT count(*), count(event_id) FROM ONLY public.snapshots AS s WHERE ",
                of_type!()
            ))
            .persistent(false)
            .bind(snapshot_type)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(counts)
        })
        .await
    }

    /// Sets TTL and fate of a type. Inserts and event ends follow from the next one on.
    pub async fn set_retention(&self, snapshot_type: &str, ttl_seconds: i64, keep: bool) -> Result<(), StorageError> {
        const WHAT: &str = "change the retention policy";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            sqlx::query(concat!(
                "INSERT INTO snapshot_lifecycle.retention (snapshot_type, ttl, keep_after_event) VALUES ($1, ", ttl!(), ", $3) \
                 ON CONFLICT (snapshot_type) DO UPDATE SET ttl = excluded.ttl, keep_after_event = excluded.keep_after_event"
            ))
            .persistent(false)
            .bind(snapshot_type)
            .bind(ttl_seconds)
            .bind(keep)
            .execute(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await
        })
        .await
    }

    /// Whether the role may change the policy and, where rows are to be restamped, their `expires_at`.
    pub async fn may_set_retention(&self, restamp: bool) -> Result<bool, StorageError> {
        const WHAT: &str = "check the role's privileges";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let may = sqlx::query_scalar(
                "SELECT has_table_privilege('snapshot_lifecycle.retention', 'INSERT') AND has_table_privilege('snapshot_lifecycle.retention', 'UPDATE') \
                    AND (NOT $1 OR has_column_privilege('public.snapshots', 'expires_at', 'UPDATE'))",
            )
            .persistent(false)
            .bind(restamp)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(may)
        })
        .await
    }

    /// What [`restamp`](Self::restamp) would do.
    pub async fn count_restamp(&self, snapshot_type: &str, ttl_seconds: i64) -> Result<Restamp, StorageError> {
        const WHAT: &str = "count what would be restamped";
        self.within(Limits::LONG, WHAT, async {
            let mut tx = self.begin_within(Limits::LONG, None).await?;
            let (earlier, later, without_expires_at, expired_at_once, without_created_at) = sqlx::query_as(concat!(
                "SELECT count(*) FILTER (WHERE created_at + ",
                ttl!(),
                " < expires_at), count(*) FILTER (WHERE created_at + ",
                ttl!(),
                " > expires_at), \
                 count(*) FILTER (WHERE created_at IS NOT NULL AND expires_at IS NULL), count(*) FILTER (WHERE created_at + ",
                ttl!(),
                " <= now() AND (expires_at > now() OR expires_at IS NULL)), count(*) FILTER (WHERE created_at IS NULL) \
                 FROM ONLY public.snapshots AS s WHERE ",
                of_type!()
            ))
            .persistent(false)
            .bind(snapshot_type)
            .bind(ttl_seconds)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(Restamp { earlier, later, without_expires_at, expired_at_once, without_created_at })
        })
        .await
    }

    /// Sets `expires_at = created_at + ttl` on the next rows of a type, in one transaction, in the order of `id` after `after`.
    /// Returns how many were changed, and where to go on; `None` at the end. Rows that have the right value already
    /// are not written.
    pub async fn restamp(
        &self,
        snapshot_type: &str,
        ttl_seconds: i64,
        after: Option<Uuid>,
    ) -> Result<(i64, Option<Uuid>), StorageError> {
        const WHAT: &str = "restamp snapshots";
        self.within(Limits::PAGE, WHAT, async {
            let mut tx = self.begin_with_triggers_within(Limits::PAGE, None).await?;
            let changed = sqlx::query_as(concat!(
                "WITH page AS MATERIALIZED ( \
                     SELECT s.id FROM ONLY public.snapshots AS s \
                     WHERE ($3::uuid IS NULL OR s.id > $3) AND ",
                stale!(),
                " \
                     ORDER BY s.id LIMIT $4 FOR NO KEY UPDATE \
                 ), changed AS ( \
                     UPDATE ONLY public.snapshots AS s SET expires_at = s.created_at + ",
                ttl!(),
                " FROM page WHERE s.id = page.id AND ",
                stale!(),
                " RETURNING 1 \
                 ) SELECT (SELECT count(*) FROM changed), (SELECT id FROM page ORDER BY id DESC LIMIT 1)"
            ))
            .persistent(false)
            .bind(snapshot_type)
            .bind(ttl_seconds)
            .bind(after)
            .bind(ROWS_A_BATCH)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(changed)
        })
        .await
    }
}
