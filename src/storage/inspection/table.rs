use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::transaction::Limits;

/// The work that an index is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Finding the snapshots of an event.
    EventEnd,
    /// Finding what has expired.
    Sweep,
    /// Finding a team's newest.
    Cap,
    /// The host's, and `snapshots list`.
    Lists,
}

/// An index that one of our statements is planned by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// For whom.
    pub work: Work,
    /// The name that `migrate` gives it.
    pub name: &'static str,
    /// Its leading keys, as PostgreSQL writes them.
    pub keys: &'static str,
}

/// What `migrate` makes. An index of another name, or with more keys behind these, serves as well.
/// The unique index on `id` belongs to the shape of the table.
const NEEDS: [Need; 4] = [
    Need { work: Work::EventEnd, name: "idx_snapshots_event", keys: "event_id" },
    Need { work: Work::Sweep, name: "idx_snapshots_expires", keys: "expires_at" },
    Need {
        work: Work::Cap,
        name: "idx_snapshots_team_newest",
        keys: "team_id, COALESCE(created_at, '-infinity'::timestamp with time zone) DESC, id DESC",
    },
    Need { work: Work::Lists, name: "idx_snapshots_team_type", keys: "team_id, snapshot_type" },
];

/// An index of `public.snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Index {
    /// Quoted, with its schema.
    pub name: String,
    /// As `pg_get_indexdef` writes it.
    pub definition: String,
    /// Whether the planner uses it. A build that was killed leaves one that is kept up to date and never read.
    pub valid: bool,
    /// Whether it covers every row.
    pub whole: bool,
}

impl Index {
    /// Whether it can serve the need, were it valid.
    #[must_use]
    pub fn serves(&self, need: Need) -> bool {
        let keys = self.definition.split_once(" USING btree (").map_or("", |(_, keys)| keys);
        // Of a single key both directions serve; of several the order is part of it.
        let ends: &[&str] = if need.keys.contains(' ') { &[")", ","] } else { &[")", ",", " DESC", " NULLS"] };
        self.whole && keys.strip_prefix(need.keys).is_some_and(|rest| ends.iter().any(|end| rest.starts_with(end)))
    }
}

impl Need {
    /// Everything that the worker needs.
    pub const ALL: &'static [Self] = &NEEDS;
}

/// Another table of the host that refers to snapshots.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Reference {
    /// With its schema.
    pub table: String,
    /// Whether its rows keep a snapshot from being deleted.
    pub blocks: bool,
    /// Whether its rows go with the snapshot.
    pub cascades: bool,
    /// Its columns, where no index begins with them: each snapshot deleted costs a walk over the whole table.
    pub columns_without_index: Option<String>,
}

/// How the table is kept up.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct TableUpkeep {
    /// Whether autovacuum may work on it, by its own storage parameter.
    pub autovacuum: bool,
    /// Rows that are dead and not yet cleared away, as the statistics have it.
    pub dead: i64,
    /// Of how many dead rows on autovacuum becomes active.
    pub trigger: i64,
    /// When it was last vacuumed, by hand or by autovacuum; seconds ago.
    pub vacuumed_seconds_ago: Option<i64>,
}

/// What `migrate` sets up on the table for the host's own writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct Guards {
    /// Row-level security is on.
    pub isolated: bool,
    /// It binds this role.
    pub binds_role: bool,
    /// The trigger that fills a missing `expires_at` is there and fires.
    pub fills_expiry: bool,
    /// `expires_at` may be NULL.
    pub expiry_may_be_missing: bool,
    /// It is published for logical replication without what tells rows apart there, so the server refuses each DELETE.
    pub published_without_identity: bool,
}

impl Database {
    /// What guards the host's own writers.
    pub async fn guards(&self) -> Result<Guards, StorageError> {
        const WHAT: &str = "look at row-level security and the trigger";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let guards = sqlx::query_as(
                "SELECT c.relrowsecurity AS isolated, row_security_active(c.oid) AS binds_role, \
                        EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid \
                                AND t.tgname = 'snapshot_lifecycle_fill_expires_at' AND t.tgenabled::text IN ('O', 'A')) AS fills_expiry, \
                        NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'expires_at' AND a.attnotnull) AS expiry_may_be_missing, \
                        EXISTS (SELECT FROM pg_catalog.pg_publication_tables AS t JOIN pg_catalog.pg_publication AS p ON p.pubname = t.pubname \
                                WHERE t.schemaname = 'public' AND t.tablename = 'snapshots' AND p.pubdelete) \
                          AND CASE c.relreplident WHEN 'f' THEN false WHEN 'n' THEN true \
                              WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary) \
                              ELSE NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisreplident) END AS published_without_identity \
                 FROM pg_catalog.pg_class AS c WHERE c.oid = 'public.snapshots'::regclass",
            )
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(guards)
        })
        .await
    }

    /// The indexes of `public.snapshots`.
    pub async fn indexes(&self) -> Result<Vec<Index>, StorageError> {
        const WHAT: &str = "look at the indexes";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let indexes = sqlx::query_as(
                "SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_get_indexdef(c.oid) AS definition, \
                        i.indisvalid AND i.indisready AND i.indislive AS valid, i.indpred IS NULL AS whole \
                 FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                 WHERE i.indrelid = to_regclass('public.snapshots') ORDER BY 1",
            )
            .persistent(false)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(indexes)
        })
        .await
    }

    /// Foreign keys of other tables that point at snapshots.
    pub async fn references(&self) -> Result<Vec<Reference>, StorageError> {
        const WHAT: &str = "look for tables that refer to snapshots";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let references = sqlx::query_as(
                "SELECT format('%I.%I', n.nspname, c.relname) AS \"table\", k.confdeltype::text IN ('a', 'r') AS blocks, k.confdeltype::text = 'c' AS cascades, \
                        CASE WHEN NOT EXISTS ( \
                            SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL \
                              AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey) \
                        THEN (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, n) \
                              JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum) END AS columns_without_index \
                 FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid \
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                 WHERE k.contype = 'f' AND k.confrelid = to_regclass('public.snapshots') ORDER BY 1",
            )
            .persistent(false)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(references)
        })
        .await
    }

    /// How `public.snapshots` is kept up; `None` where it is not there.
    pub async fn upkeep(&self) -> Result<Option<TableUpkeep>, StorageError> {
        const WHAT: &str = "look at autovacuum";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let upkeep = sqlx::query_as(
                "SELECT COALESCE((p.own->>'autovacuum_enabled')::bool, true) AS autovacuum, COALESCE(s.n_dead_tup, 0) AS dead, \
                        (COALESCE(p.own->>'autovacuum_vacuum_threshold', current_setting('autovacuum_vacuum_threshold'))::float8 \
                         + COALESCE(p.own->>'autovacuum_vacuum_scale_factor', current_setting('autovacuum_vacuum_scale_factor'))::float8 \
                           * GREATEST(c.reltuples, 0))::bigint AS trigger, \
                        extract(epoch FROM clock_timestamp() - GREATEST(s.last_vacuum, s.last_autovacuum))::bigint AS vacuumed_seconds_ago \
                 FROM pg_catalog.pg_class AS c LEFT JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = c.oid \
                 CROSS JOIN LATERAL (SELECT COALESCE(jsonb_object_agg(option_name, option_value), '{}') FROM pg_options_to_table(c.reloptions)) AS p (own) \
                 WHERE c.oid = to_regclass('public.snapshots')",
            )
            .persistent(false)
            .fetch_optional(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(upkeep)
        })
        .await
    }
}
