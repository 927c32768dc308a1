//! Status changes that the host's trigger records, until they are published.

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, Limits, StorageError};

/// A recorded status change.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OutboxRecord {
    /// Ascends in the order of commits within an event: its changes are serialised by the lock on the event's row.
    pub id: i64,
    /// For finding the message again; the same at each try.
    pub message_id: Uuid,
    /// Whose status changed.
    pub event_id: Uuid,
    /// Where the event has one.
    pub team_id: Option<Uuid>,
    /// Lowercase, one of the five.
    pub status: String,
    /// By the database's clock, at the change.
    pub occurred_at: OffsetDateTime,
}

/// A table of the host with our trigger on it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct OutboxTrigger {
    /// With its schema.
    pub table: String,
    /// Which columns are read, by the names they had when it was installed.
    pub columns: String,
    /// Whether it fires, at inserts and at updates.
    pub enabled: bool,
    /// Whether a column has another name by now or is gone.
    pub outdated: bool,
}

/// What waits to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct OutboxBacklog {
    /// Records.
    pub pending: i64,
    /// Seconds since the oldest of them was recorded.
    pub oldest_seconds: i64,
}

/// What the trigger shall watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSource {
    /// `public` unless given.
    pub schema: String,
    /// The host's table of events.
    pub table: String,
    /// The event's id, a UUID.
    pub id_column: String,
    /// Text or an enumeration.
    pub status_column: String,
    /// A UUID.
    pub team_column: Option<String>,
}

/// Why the trigger was not installed.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The table or a column is not there or not fit.
    #[error("{0}")]
    Unfit(String),
    /// Anything else.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The channel on which the trigger notifies.
pub(super) const CHANNEL: &str = "snapshot_lifecycle_outbox";

impl Database {
    /// The oldest records, but none of these events.
    pub async fn outbox_records(&self, most: u32, but: &[Uuid]) -> Result<Vec<OutboxRecord>, StorageError> {
        const WHAT: &str = "read the outbox";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let records = sqlx::query_as(
                "SELECT id, message_id, event_id, team_id, status, occurred_at FROM snapshot_lifecycle.outbox \
                 WHERE event_id <> ALL ($2) ORDER BY id LIMIT $1",
            )
            .persistent(false)
            .bind(i64::from(most))
            .bind(but)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(records)
        })
        .await
    }

    /// Removes what is published.
    pub async fn remove_from_outbox(&self, ids: &[i64]) -> Result<(), StorageError> {
        const WHAT: &str = "remove what is published from the outbox";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            sqlx::query("DELETE FROM snapshot_lifecycle.outbox WHERE id = ANY($1)")
                .persistent(false)
                .bind(ids)
                .execute(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await
        })
        .await
    }

    /// How much waits, and for how long.
    pub async fn outbox_backlog(&self) -> Result<OutboxBacklog, StorageError> {
        const WHAT: &str = "measure the outbox";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let (pending, oldest_seconds) = sqlx::query_as(
                "SELECT count(*), GREATEST(0, extract(epoch FROM clock_timestamp() - COALESCE(min(occurred_at), clock_timestamp())))::bigint \
                 FROM snapshot_lifecycle.outbox",
            )
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(OutboxBacklog { pending, oldest_seconds })
        })
        .await
    }

    /// The tables that our trigger is on.
    pub async fn outbox_triggers(&self) -> Result<Vec<OutboxTrigger>, StorageError> {
        const WHAT: &str = "look for the outbox's trigger";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let triggers = sqlx::query_as(
                "SELECT format('%I.%I', n.nspname, c.relname) AS \"table\", \
                        format('id %s, status %s, team %s', i.names->>'id', i.names->>'status', COALESCE(i.names->>'team', '-')) AS columns, \
                        bool_and(t.tgenabled::text IN ('O', 'A')) AND count(*) = 2 AS enabled, \
                        EXISTS (SELECT FROM jsonb_each_text(i.names) AS j (what, name) WHERE j.name IS NOT NULL AND NOT EXISTS ( \
                            SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = j.name AND NOT a.attisdropped)) AS outdated \
                 FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                 CROSS JOIN LATERAL (SELECT COALESCE(obj_description(t.tgfoid, 'pg_proc'), '{}')::jsonb) AS i (names) \
                 WHERE t.tgname IN ('snapshot_lifecycle_outbox_update', 'snapshot_lifecycle_outbox_insert') \
                 GROUP BY n.nspname, c.relname, c.oid, i.names ORDER BY 1",
            )
            .persistent(false)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(triggers)
        })
        .await
    }

    /// Makes the trigger, or makes it anew with other columns; all or nothing.
    ///
    /// Its function runs as its owner, because the host's roles have no rights in our schema. It never fails the host's
    /// statement for a status that it does not know: such a change is not recorded.
    pub async fn install_outbox(&self, source: &OutboxSource) -> Result<(), OutboxError> {
        const WHAT: &str = "install the outbox's trigger";
        let problem = self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let (problem, statements): (Option<String>, Option<String>) = sqlx::query_as(INSTALL)
                .persistent(false)
                .bind(&source.schema)
                .bind(&source.table)
                .bind(&source.id_column)
                .bind(&source.status_column)
                .bind(source.team_column.as_deref())
                .fetch_one(&mut *tx)
                .await
                .map_err(StorageError::during(WHAT))?;
            if let (None, Some(statements)) = (&problem, statements) {
                // The server has quoted every name in it.
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await.map_err(StorageError::during(WHAT))?;
                Self::commit(tx).await?;
            }
            Ok(problem)
        });
        match problem.await? {
            None => Ok(()),
            Some(problem) => Err(OutboxError::Unfit(problem)),
        }
    }

    /// Removes our triggers from all tables, and their functions. What is recorded stays and is still published.
    pub async fn uninstall_outbox(&self) -> Result<(), StorageError> {
        const WHAT: &str = "uninstall the outbox's trigger";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin(Limits::SHORT, None).await?;
            let statements: Option<String> = sqlx::query_scalar(
                "SELECT string_agg(format('DROP FUNCTION %s CASCADE', p.oid::regprocedure), '; ') \
                 FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace \
                 WHERE n.nspname = 'snapshot_lifecycle' AND p.proname LIKE 'record\\_status\\_of\\_%' AND p.prorettype = 'trigger'::regtype",
            )
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            if let Some(statements) = statements {
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await.map_err(StorageError::during(WHAT))?;
            }
            Self::commit(tx).await
        })
        .await
    }
}

/// Looks at the table (`$1`, `$2`) and its columns (id `$3`, status `$4`, team `$5`); answers with what is wrong, or with the
/// statements that install the trigger.
const INSTALL: &str = r#"
WITH found AS (
    SELECT c.oid, c.relkind::text AS kind,
           c.relispartition AS is_partition,
           id.attnum AS id_number, format_type(id.atttypid, NULL) AS id_type,
           status.attnum AS status_number, format_type(status.atttypid, NULL) AS status_type,
           team.attnum AS team_number, format_type(team.atttypid, NULL) AS team_type
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute AS id ON id.attrelid = c.oid AND id.attname = $3 AND id.attnum > 0 AND NOT id.attisdropped
    LEFT JOIN pg_catalog.pg_attribute AS status ON status.attrelid = c.oid AND status.attname = $4 AND status.attnum > 0 AND NOT status.attisdropped
    LEFT JOIN pg_catalog.pg_attribute AS team ON team.attrelid = c.oid AND team.attname = $5 AND team.attnum > 0 AND NOT team.attisdropped
    WHERE n.nspname = $1 AND c.relname = $2
)
SELECT CASE
           WHEN f.oid IS NULL THEN format('there is no table %s.%s', $1, $2)
           WHEN f.kind = 'p' OR f.is_partition THEN format('%s.%s is partitioned: a row that moves to another partition cannot be told from a new one, and its status would be published anew; publish from the backend instead', $1, $2)
           WHEN f.kind <> 'r' THEN format('%s.%s is no table', $1, $2)
           WHEN f.id_type IS NULL THEN format('%s.%s has no column %s; --id-column names it', $1, $2, $3)
           WHEN f.id_type <> 'uuid' THEN format('column %s is of type %s; event ids are uuid', $3, f.id_type)
           WHEN f.status_type IS NULL THEN format('%s.%s has no column %s; --status-column names it', $1, $2, $4)
           WHEN $5 IS NOT NULL AND f.team_type IS NULL THEN format('%s.%s has no column %s; --team-column names it', $1, $2, $5)
           WHEN $5 IS NOT NULL AND f.team_type <> 'uuid' THEN format('column %s is of type %s; team ids are uuid', $5, f.team_type)
       END,
       format($f$
CREATE OR REPLACE FUNCTION snapshot_lifecycle.%1$I() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
AS $body$
DECLARE
    event UUID;
    team UUID;
    was TEXT;
    reached TEXT;
    before JSONB;
    after JSONB;
BEGIN
    BEGIN
        event := NEW.%3$I;
        team := %5$s;
        -- "C": in a Turkish database the lower case of CONFIRMED has an i without a dot.
        reached := pg_catalog.lower(pg_catalog.btrim(NEW.%4$I::pg_catalog.text) COLLATE pg_catalog."C");
        IF TG_OP = 'UPDATE' THEN
            was := pg_catalog.lower(pg_catalog.btrim(OLD.%4$I::pg_catalog.text) COLLATE pg_catalog."C");
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- A column was renamed, dropped or made another type, which must not fail the host's statement: by their numbers.
        after := pg_catalog.to_jsonb(NEW);
        IF TG_OP = 'UPDATE' THEN
            before := pg_catalog.to_jsonb(OLD);
        END IF;
        SELECT CASE WHEN pg_catalog.lower(after ->> i.attname) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN (after ->> i.attname)::pg_catalog.uuid END,
               CASE WHEN pg_catalog.lower(after ->> t.attname) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN (after ->> t.attname)::pg_catalog.uuid END,
               pg_catalog.lower(pg_catalog.btrim(after ->> s.attname) COLLATE pg_catalog."C"), pg_catalog.lower(pg_catalog.btrim(before ->> s.attname) COLLATE pg_catalog."C")
        INTO event, team, reached, was
        FROM pg_catalog.pg_attribute AS i
        LEFT JOIN pg_catalog.pg_attribute AS s ON s.attrelid = i.attrelid AND s.attnum = %8$s
        LEFT JOIN pg_catalog.pg_attribute AS t ON t.attrelid = i.attrelid AND t.attnum = %9$s
        WHERE i.attrelid = TG_RELID AND i.attnum = %7$s;
    END;
    -- The same status written otherwise (letter case, spaces) is no change: published, it would look like a new end of the event.
    IF event IS NOT NULL AND reached IS DISTINCT FROM was AND reached IN ('lead', 'option', 'confirmed', 'cancelled', 'blocked') THEN
        INSERT INTO snapshot_lifecycle.outbox (event_id, team_id, status) VALUES (event, team, reached);
        -- Commits that notify wait for each other, all over the server. So of transactions side by side one does, and a record that
        -- is committed after the relay has looked is found when it looks again.
        IF pg_catalog.pg_try_advisory_xact_lock(8315161622119347807) THEN
            PERFORM pg_catalog.pg_notify('snapshot_lifecycle_outbox', '');
        END IF;
    END IF;
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION snapshot_lifecycle.%1$I() IS %6$L;
CREATE OR REPLACE TRIGGER snapshot_lifecycle_outbox_insert AFTER INSERT ON %2$s
    FOR EACH ROW WHEN (NEW.%4$I IS NOT NULL) EXECUTE FUNCTION snapshot_lifecycle.%1$I();
CREATE OR REPLACE TRIGGER snapshot_lifecycle_outbox_update AFTER UPDATE ON %2$s
    FOR EACH ROW WHEN (NEW.%4$I IS DISTINCT FROM OLD.%4$I) EXECUTE FUNCTION snapshot_lifecycle.%1$I();
$f$,
           'record_status_of_' || COALESCE(f.oid, 0),
           format('%I.%I', $1, $2),
           $3, $4,
           CASE WHEN $5 IS NULL THEN 'NULL' ELSE format('NEW.%I', $5) END,
           json_build_object('id', $3, 'status', $4, 'team', $5)::text,
           f.id_number, f.status_number, COALESCE(f.team_number, 0))
FROM (VALUES (1)) AS one LEFT JOIN found AS f ON true"#;
